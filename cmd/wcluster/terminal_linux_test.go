package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo-terminal: what a program writes to slave is read from master. See pty(7).
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// onTerminal runs a command whose stdout and stderr are a terminal, calls seen with all that it has shown so far until
// that answers true, and then answers the rest as well, until the command has ended.
func onTerminal(t *testing.T, args []string, seen func(shown string, p *os.Process) bool, setups ...setup) string {
	t.Helper()
	master, slave := openTerminal(t)
	cmd := newCommand(args, setups...)
	cmd.Stdout, cmd.Stderr = slave, slave
	err := cmd.Start()
	slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := master.Read(buf)
		if err != nil { // EIO: nobody has the other side any more
			break
		}
		shown.Write(buf[:n])
		if seen != nil && seen(shown.String(), cmd.Process) {
			seen = nil
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return shown.String()
}

func TestColours(t *testing.T) {
	t.Parallel()
	args := []string{"run", guest(t, printer), "-n", "1"}
	shown := onTerminal(t, args, nil)
	if !strings.Contains(shown, "\x1b[33m[1]\x1b[0m out 1\r\n") || !strings.Contains(shown, "\x1b[33m[1]\x1b[0m err 1\r\n") {
		t.Errorf("shown is %q", shown)
	}
	if plain := onTerminal(t, args, nil, withEnv("NO_COLOR=1")); strings.Contains(plain, "\x1b") || !strings.Contains(plain, "[1] out 1\r\n") {
		t.Errorf("with NO_COLOR, shown is %q", plain)
	}
}

// TestProgress: a module that takes long to compile shows a line, which goes away.
func TestProgress(t *testing.T) {
	t.Parallel()
	shown := onTerminal(t, []string{"run", helloGo(), "--cache", t.TempDir()}, func(shown string, p *os.Process) bool {
		if !strings.Contains(shown, "compiling") {
			return false
		}
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		return true
	})
	if !strings.Contains(shown, "wcluster: compiling hello-go.wasm (9.") || !strings.Contains(shown, " MB)… 0 s") {
		t.Errorf("shown is %q", shown)
	}
	if before, after, _ := strings.Cut(shown, " s"); !strings.HasPrefix(before, clearLine) || !strings.Contains(after, clearLine) {
		t.Errorf("the line stays: %q", shown)
	}
}
