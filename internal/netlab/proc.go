// SPDX-License-Identifier: MIT

package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runTimeout ends a command of Run or Try: a lab that hangs must say where.
const runTimeout = 60 * time.Second

// CmdError is a command that could not be started or did not exit with 0.
type CmdError struct {
	Node   string
	Args   []string
	Code   int // exit code; -1 if it was not started or was killed
	Stdout string
	Stderr string
	Err    error
}

func (e *CmdError) Error() string {
	return fmt.Sprintf("%s: %s: %v\n%s%s", e.Node, strings.Join(e.Args, " "), e.Err, e.Stdout, e.Stderr)
}

func (e *CmdError) Unwrap() error { return e.Err }

// Run runs a command in the node and returns its standard output. The test fails with all its
// output if it does not exit with 0.
func (n *Node) Run(args ...string) string {
	n.lab.T.Helper()
	out, err := n.Try(args...)
	if err != nil {
		n.lab.T.Fatalf("%v", err)
	}
	return out
}

// Try is Run for commands that may fail. The error is a *CmdError.
func (n *Node) Try(args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := nodeCommand(args)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // a daemon that it left may hold the pipes open
	fail := func(err error) (string, error) {
		code := -1
		if cmd.ProcessState != nil {
			code = cmd.ProcessState.ExitCode()
		}
		return stdout.String(), &CmdError{n.Name, args, code, stdout.String(), stderr.String(), err}
	}
	if err := n.Inside(func() error { return start(cmd, args[0]) }); err != nil {
		return fail(err)
	}
	timer := time.AfterFunc(runTimeout, func() { killGroup(cmd.Process.Pid, unix.SIGKILL) })
	err := cmd.Wait()
	if !timer.Stop() {
		return fail(fmt.Errorf("no end after %v", runTimeout))
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fail(err)
	}
	return stdout.String(), nil
}

// nodeCommand prepares a command in a process group of its own.
func nodeCommand(args []string) *exec.Cmd {
	cmd := &exec.Cmd{Args: args, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	// Not Pdeathsig: that watches the thread that started the command, and it ends at once.
	cmd.Env = append(os.Environ(), "PATH="+binDir+":"+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin", "LC_ALL=C")
	return cmd
}

func start(cmd *exec.Cmd, name string) error {
	p, err := lookPath(name)
	if err != nil {
		return err
	}
	cmd.Path = p
	return cmd.Start()
}

func killGroup(pid int, sig syscall.Signal) { _ = unix.Kill(-pid, sig) } // ESRCH: it is gone already

// Proc is a program that runs in a node. It is killed, with all of its process group, when the
// test ends; its output is logged then if the test failed.
type Proc struct {
	node    *Node
	cmd     *exec.Cmd
	name    string
	done    chan struct{}
	err     error // of Wait; valid once done is closed
	Started time.Time

	mu      sync.Mutex
	out     bytes.Buffer
	partial []byte
	onLine  []func(line string)
	changed chan struct{} // closed and replaced with each line
}

// Start starts a program in the node. Its standard output and error are kept, mixed.
func (n *Node) Start(args ...string) *Proc {
	n.lab.T.Helper()
	return n.StartWith(nil, args...)
}

// StartWith is Start with a function that is called with each line of output, from another
// goroutine.
func (n *Node) StartWith(onLine func(line string), args ...string) *Proc {
	n.lab.T.Helper()
	p := &Proc{node: n, cmd: nodeCommand(args), name: args[0], done: make(chan struct{}), changed: make(chan struct{})}
	if onLine != nil {
		p.onLine = append(p.onLine, onLine)
	}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second
	p.Started = time.Now()
	if err := n.Inside(func() error { return start(p.cmd, args[0]) }); err != nil {
		n.lab.T.Fatalf("%v", &CmdError{n.Name, args, -1, "", "", err})
	}
	go func() {
		if err := p.cmd.Wait(); !errors.Is(err, exec.ErrWaitDelay) {
			p.err = err
		}
		close(p.done)
	}()
	n.lab.T.Cleanup(p.end)
	return p
}

func (p *Proc) end() {
	p.Kill()
	if p.node.lab.T.Failed() {
		p.node.lab.T.Logf("output of %s in %s (%v):\n%s", strings.Join(p.cmd.Args, " "), p.node.Name, p.cmd.ProcessState, p.Output())
	}
}

// Write takes the program's output; it is not for others.
func (p *Proc) Write(b []byte) (int, error) {
	p.mu.Lock()
	p.out.Write(b)
	p.partial = append(p.partial, b...)
	var lines []string
	for {
		line, rest, ok := bytes.Cut(p.partial, []byte("\n"))
		if !ok {
			break
		}
		lines, p.partial = append(lines, string(line)), rest
	}
	calls := p.onLine
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	for _, line := range lines {
		for _, f := range calls {
			f(line)
		}
	}
	return len(b), nil
}

// Output is all that the program has written so far.
func (p *Proc) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// WaitOutput waits until the output contains the text and says whether it came. It ends early
// when the program does.
func (p *Proc) WaitOutput(timeout time.Duration, text string) bool {
	return p.WaitNewOutput(timeout, 0, text)
}

// WaitNewOutput is WaitOutput for what comes after the first octets of the output, for texts that
// come more than once: after is len(Output()) of before.
func (p *Proc) WaitNewOutput(timeout time.Duration, after int, text string) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		p.mu.Lock()
		found, changed := bytes.Contains(p.out.Bytes()[after:], []byte(text)), p.changed
		p.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-changed:
		case <-p.done:
			return strings.Contains(p.Output()[after:], text)
		case <-timer.C:
			return false
		}
	}
}

// Pid is the process id, as seen in the lab.
func (p *Proc) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Running says whether the program has not ended yet.
func (p *Proc) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal to the program alone, not to its group.
func (p *Proc) Signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) } // an error says it has ended

// Wait waits for the end. The error is nil for exit code 0, else an *exec.ExitError.
func (p *Proc) Wait() error { <-p.done; return p.err }

// WaitTimeout fails the test if the program does not end in time, and returns its exit code.
func (p *Proc) WaitTimeout(timeout time.Duration) int {
	p.node.lab.T.Helper()
	select {
	case <-p.done:
	case <-time.After(timeout):
		p.node.lab.T.Fatalf("%s in %s still runs after %v", p.name, p.node.Name, timeout)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stopTimeout is how long a program may take to end when asked to.
const stopTimeout = 10 * time.Second

// Stop sends the signal, waits for the end and returns the exit code (-1: killed by the signal).
func (p *Proc) Stop(sig syscall.Signal) int {
	p.node.lab.T.Helper()
	p.Signal(sig)
	return p.WaitTimeout(stopTimeout)
}

// Kill kills the program and its process group at once and waits for its end.
func (p *Proc) Kill() {
	killGroup(p.Pid(), unix.SIGKILL)
	<-p.done
}
