// SPDX-License-Identifier: MIT

package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// endings are the commands of a daemon that signals stand for.
type endings[C any] struct {
	reload   C // SIGHUP
	stop     C // SIGTERM, SIGINT: for good
	handover C // SIGUSR2: a successor follows
}

// signals turns signals into commands until the returned function is called. A command that ends the box
// is never lost behind reloads: those that wait count as one, and the end goes first.
func signals[C any](log *slog.Logger, what endings[C]) (commands <-chan C, stop func()) {
	end, hup := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
	signal.Notify(hup, syscall.SIGHUP)
	out := make(chan C)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var next C
			select {
			case s := <-end:
				next = what.of(log, s)
			case <-hup:
				log.Info("signal", "what", "hangup: read the configuration again")
				next = what.reload
			case <-done:
				return
			}
			for waiting := true; waiting; {
				select {
				case out <- next:
					waiting = false
				case s := <-end:
					next = what.of(log, s)
				case <-done:
					return
				}
			}
		}
	}()
	return out, func() {
		signal.Stop(end)
		signal.Stop(hup)
		close(done)
		<-ended
	}
}

// of is what a signal that ends the daemon asks for.
func (e endings[C]) of(log *slog.Logger, s os.Signal) C {
	if s == syscall.SIGUSR2 {
		log.Info("signal", "what", s.String()+": leave for a successor")
		return e.handover
	}
	log.Info("signal", "what", s.String()+": stop for good")
	return e.stop
}
