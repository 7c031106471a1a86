// SPDX-License-Identifier: MIT

// Package netlab builds test networks out of Linux namespaces: nodes (a network and a mount
// namespace each), wires between them, real programs inside them, and World, the whole picture of
// hosts, the box, two NATs, the IPv4 Internet, the far router and the IPv6 Internet.
//
// Everything runs in a new user, mount, network and PID namespace, so root is not needed and
// nothing outlives the run, whatever ends it. The limits: Linux only; as a plain user just one
// user id is mapped, so daemons cannot drop privileges; the machine's file systems outside
// /run, /etc and /var/lib are shared by all nodes. It is for tests, benches and `make lab`: no product package imports it.
//
// Start at Main (from TestMain) and New, then at NewWorld.
package netlab

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// T is what a lab needs of a test. testing.TB satisfies it; Console does for programs.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Cleanup(func())
	Failed() bool
}

// State between the process that re-executes itself and the one inside travels by environment:
// it must survive exec, and packages here hold no variables.
const (
	envInside  = "OASIS6_NETLAB"         // "1" once re-executed
	envRefused = "OASIS6_NETLAB_REFUSED" // why there is no namespace
	envRequire = "OASIS6_REQUIRE_NETNS"  // "1": a skip is a failure
)

// labDir is where nodes keep their files. It lies on the run's own tmpfs, is bound into every
// node at the same path, and is short, since a socket path has 107 octets.
const labDir = "/run/netlab"

// Main is for TestMain: it runs the package's tests inside new namespaces and does not return.
// If those are refused, the tests run where they are, and those that call Need or New skip.
func Main(m interface{ Run() int }) {
	if err := Reexec(); err != nil {
		_ = os.Setenv(envRefused, err.Error()) // fails only for names or values with NUL
	}
	waitTogether()
	os.Exit(m.Run())
}

// waitTogether lets more parallel tests run at once than there are processors: worlds wait most of the
// time, two of them keep two processors busy for a tenth of it. -parallel on the command line wins.
func waitTogether() {
	const perProcessor = 4
	_ = flag.Set("test.parallel", strconv.Itoa(perProcessor*runtime.GOMAXPROCS(0))) // fails only outside of tests
}

// Reexec starts the program again in new namespaces, waits, and exits with its exit code. Inside
// it returns nil at once; an error says why there are no namespaces.
func Reexec() error {
	if os.Getenv(envInside) == "" {
		code, err := runInside()
		if err != nil {
			return err
		}
		os.Exit(code)
	}
	if r := os.Getenv(envRefused); r != "" {
		return errors.New(r)
	}
	if err := furnish(); err != nil {
		return refusal(err)
	}
	return nil
}

func refusal(err error) error {
	return fmt.Errorf("needs a network namespace: %w (run as root or allow user namespaces)", err)
}

// Need skips the test, or fails it where OASIS6_REQUIRE_NETNS=1, if there are no namespaces or
// one of the programs is not installed.
func Need(t T, programs ...string) {
	t.Helper()
	switch r := os.Getenv(envRefused); {
	case r != "":
		refuse(t, "%s", r)
	case os.Getenv(envInside) == "":
		t.Fatalf("netlab.Main was not called: func TestMain(m *testing.M) { netlab.Main(m) }")
	}
	for _, p := range programs {
		if _, err := lookPath(p); err != nil {
			refuse(t, "needs %s: %v (scripts/deps.sh installs it)", p, err)
		}
	}
}

func refuse(t T, format string, args ...any) {
	t.Helper()
	if os.Getenv(envRequire) == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// lookPath also looks in the sbin directories, which a plain user's PATH lacks on Debian.
func lookPath(name string) (string, error) {
	p, err := exec.LookPath(name)
	if err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if q, e := exec.LookPath(filepath.Join(dir, name)); e == nil {
			return q, nil
		}
	}
	return "", err
}

// runInside runs this program again as process 1 of new namespaces. All that it started ends
// with it: the kernel kills a PID namespace whose first process is gone.
func runInside() (int, error) {
	runtime.LockOSThread() // Pdeathsig watches the thread
	defer runtime.UnlockOSThread()
	cmd, err := startInside()
	if err != nil {
		return 0, refusal(err)
	}
	sigs := make(chan os.Signal, 8)
	signal.Notify(sigs, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-sigs:
				_ = cmd.Process.Signal(s) // it may have just ended
			case <-done:
				return
			}
		}
	}()
	if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
		return 0, refusal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	fmt.Fprintln(os.Stderr, "netlab:", cmd.ProcessState)
	return 1, nil
}

// startInside tries with a user namespace first: the run then has no power over the machine,
// root or not. Root goes without where user namespaces are switched off.
func startInside() (*exec.Cmd, error) {
	spaces := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID)
	cmd := command(spaces | unix.CLONE_NEWUSER)
	err := cmd.Start()
	if err != nil && os.Geteuid() == 0 {
		cmd = command(spaces)
		if cmd.Start() == nil {
			return cmd, nil
		}
	}
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = fmt.Errorf("clone: %w", pe.Err) // "fork/exec /proc/self/exe" would mislead
	}
	return cmd, err
}

func command(flags uintptr) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), envInside+"=1")
	attr := &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: unix.SIGKILL}
	if flags&unix.CLONE_NEWUSER != 0 {
		attr.UidMappings = idMap("/proc/self/uid_map", os.Geteuid())
		attr.GidMappings = idMap("/proc/self/gid_map", os.Getegid())
		attr.GidMappingsEnableSetgroups = os.Geteuid() == 0
	}
	cmd.SysProcAttr = attr
	return cmd
}

// idMap maps as many ids as root has, up to 65536, so that daemons can drop privileges; a plain
// user may map only itself.
func idMap(file string, id int) []syscall.SysProcIDMap {
	if os.Geteuid() != 0 {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
	}
	size := 1
	if text, err := os.ReadFile(file); err == nil {
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) != 3 || f[0] != "0" {
				continue
			}
			if n, err := strconv.ParseInt(f[2], 10, 64); err == nil {
				size = int(min(n, 65536))
			}
		}
	}
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: size}}
}

// furnish makes the new namespaces usable.
func furnish() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	// Refused inside containers that mask parts of /proc; then it shows foreign process ids,
	// and nothing here depends on them.
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err := mountRun(); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("link lo: %w", err)
	}
	return os.MkdirAll(labDir, 0o755)
}

// mountRun gives the calling thread's mount namespace an empty /run of its own.
func mountRun() error {
	dirs := []string{"/run"}
	if d, err := filepath.EvalSymlinks("/var/run"); err == nil && d != "/run" {
		dirs = append(dirs, "/var/run") // not merged on this machine
	}
	for _, d := range dirs {
		if err := unix.Mount("tmpfs", d, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", d, err)
		}
		for _, sub := range []string{"wireguard", "lock"} {
			if err := os.Mkdir(filepath.Join(d, sub), 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}
