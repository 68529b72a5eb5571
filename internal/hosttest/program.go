package hosttest

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// programVariable makes a test binary the program that it tests.
const programVariable = "WCLUSTER_TEST_PROGRAM"

// programPatience ends a program that does not end.
const programPatience = 30 * time.Second

// ProgramMain is TestMain of a program's package, after host.Init: the test binary is the program, or runs the tests.
func ProgramMain(m *testing.M, main func()) {
	if os.Getenv(programVariable) != "" {
		main()
		return
	}
	Main(m)
}

// Program is a running program whose standard output is read line by line.
type Program struct {
	*exec.Cmd
	t     *testing.T
	lines *bufio.Scanner
}

// StartProgram starts the package's program. It is killed at the end of the test, if it has not ended.
func StartProgram(t *testing.T, args ...string) *Program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Program{Cmd: exec.Command(self, args...), t: t}
	p.Env = []string{programVariable + "=1", "XDG_CACHE_HOME=" + t.TempDir()}
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	late := time.AfterFunc(programPatience, func() { _ = p.Process.Kill() })
	t.Cleanup(func() {
		late.Stop()
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

// Says reads lines up to one that contains text, and answers that one.
func (p *Program) Says(text string) string {
	p.t.Helper()
	var before []string
	for p.lines.Scan() {
		if strings.Contains(p.lines.Text(), text) {
			return p.lines.Text()
		}
		before = append(before, p.lines.Text())
	}
	p.t.Fatalf("it ended, or was ended after %v, without %q; it said %q", programPatience, text, before)
	return ""
}

// Ends reads the rest and waits for the program to end well.
func (p *Program) Ends() {
	p.t.Helper()
	for p.lines.Scan() {
	}
	if err := p.Wait(); err != nil {
		p.t.Error(err)
	}
}
