// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Interact runs a command in the node with this program's terminal, for people. Its exit code is
// not an error.
func (n *Node) Interact(args ...string) error {
	cmd := nodeCommand(args)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(cmd.Env, "PS1="+n.Name+"# ", "HISTFILE=") // no history: the home directory is the machine's
	cmd.SysProcAttr = nil
	tty := int(os.Stdin.Fd())
	if _, err := unix.IoctlGetTermios(tty, unix.TCGETS); err == nil {
		// A shell wants to be the terminal's foreground group.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: true, Ctty: tty}
	}
	if err := n.Inside(func() error { return start(cmd, args[0]) }); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	_ = cmd.Wait() // an exit code: the user has seen why
	if cmd.SysProcAttr != nil {
		takeTerminal(tty)
	}
	return nil
}

// takeTerminal makes this process group the foreground one again.
func takeTerminal(tty int) {
	// Asking from the background would stop us: SIGTTOU is blocked for this thread meanwhile.
	_ = onThread(func() error {
		var block unix.Sigset_t
		block.Val[0] = 1 << (uint(unix.SIGTTOU) - 1)
		if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, nil); err != nil {
			return err
		}
		return unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, unix.Getpgrp())
	})
}

// Shell is Interact with a shell.
func (n *Node) Shell() error {
	if _, err := exec.LookPath("bash"); err == nil {
		return n.Interact("bash", "--norc", "-i")
	}
	return n.Interact("sh", "-i")
}
