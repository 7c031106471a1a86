// SPDX-License-Identifier: MIT

package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"oasis6/internal/control"
)

// signals turns signals into commands until the returned function is called. A command that ends the box
// is never lost behind reloads: those that wait count as one, and the end goes first.
func signals(log *slog.Logger) (commands <-chan control.Command, stop func()) {
	end, hup := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
	signal.Notify(hup, syscall.SIGHUP)
	out := make(chan control.Command)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var next control.Command
			select {
			case s := <-end:
				next = ending(log, s)
			case <-hup:
				log.Info("signal", "what", "hangup: read the configuration again")
				next = control.Reload
			case <-done:
				return
			}
			for waiting := true; waiting; {
				select {
				case out <- next:
					waiting = false
				case s := <-end:
					next = ending(log, s)
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

// ending is what a signal that ends the daemon asks for.
func ending(log *slog.Logger, s os.Signal) control.Command {
	if s == syscall.SIGUSR2 {
		log.Info("signal", "what", s.String()+": leave for a successor")
		return control.Handover
	}
	log.Info("signal", "what", s.String()+": stop for good")
	return control.Stop
}
