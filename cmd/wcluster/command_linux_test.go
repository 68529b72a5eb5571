package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/internal/hosttest"
)

// patience is how long a test waits for anything before it fails.
const patience = 30 * time.Second

// command is a wcluster that runs.
type command struct {
	t      *testing.T
	cmd    *exec.Cmd
	ended  chan struct{}
	stdout *capture
	stderr *capture
}

// capture is what came on a stream so far, in lines.
type capture struct {
	mu    sync.Mutex
	more  *sync.Cond
	lines []string
	taken map[int]bool // indices of lines that were awaited
	over  bool
}

func (c *capture) take(r io.Reader) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		c.mu.Lock()
		c.lines = append(c.lines, in.Text())
		c.more.Broadcast()
		c.mu.Unlock()
	}
	c.mu.Lock()
	c.over = true
	c.more.Broadcast()
	c.mu.Unlock()
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.lines, "\n")
}

func newCapture() *capture {
	c := &capture{taken: map[int]bool{}}
	c.more = sync.NewCond(&c.mu)
	return c
}

// setup changes a command before it starts.
type setup func(*exec.Cmd)

func withEnv(env ...string) setup {
	return func(c *exec.Cmd) { c.Env = append(c.Env, env...) }
}

// inherit gives the command f as descriptor 3, 4, …
func inherit(f *os.File) setup {
	return func(c *exec.Cmd) { c.ExtraFiles = append(c.ExtraFiles, f) }
}

// newCommand has an environment of its own: a cache and a temporary directory that the test run checks in the end.
func newCommand(args []string, setups ...setup) *exec.Cmd {
	cmd := exec.Command(binary(), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "XDG_CACHE_HOME=" + work + "/cache", "TMPDIR=" + tempDir()}
	cmd.Env = append(cmd.Env, "WCLUSTER_SANDBOX="+string(hosttest.Sandbox()))
	for _, s := range setups {
		s(cmd)
	}
	return cmd
}

// start runs wcluster. When the test ends it must have ended as well, and its workers with it.
func start(t *testing.T, args []string, setups ...setup) *command {
	t.Helper()
	c := &command{t: t, cmd: newCommand(args, setups...), ended: make(chan struct{}), stdout: newCapture(), stderr: newCapture()}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var streams sync.WaitGroup
	streams.Go(func() { c.stdout.take(out) })
	streams.Go(func() { c.stderr.take(errs) })
	go func() {
		streams.Wait()
		_ = c.cmd.Wait() // exitCode reads what it found
		close(c.ended)
	}()
	t.Cleanup(c.cleanup)
	return c
}

func (c *command) cleanup() {
	select {
	case <-c.ended:
	default:
		c.t.Errorf("wcluster still runs at the end of the test")
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
	for _, pid := range c.pids() {
		if isWorker(pid) {
			c.t.Errorf("worker process %d has outlived wcluster", pid)
		}
	}
	if c.t.Failed() {
		c.t.Logf("stdout:\n%v\nstderr:\n%v", c.stdout, c.stderr)
	}
}

var onlinePid = regexp.MustCompile(`online \(pid (\d+)\)|"event":"online".*"pid":(\d+)`)

// pids are the processes of all workers that were ever online.
func (c *command) pids() []int {
	var pids []int
	for _, m := range onlinePid.FindAllStringSubmatch(c.stderr.String()+"\n"+c.stdout.String(), -1) {
		pid, _ := strconv.Atoi(m[1] + m[2])
		pids = append(pids, pid)
	}
	return pids
}

// isWorker is whether the process is there and a worker.
func isWorker(pid int) bool { return strings.HasPrefix(cmdline(pid), "wcluster: worker ") }

// cmdline is what ps shows of a process.
func cmdline(pid int) string {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return string(bytes.TrimRight(text, "\x00"))
}

// await waits for n lines that match, each awaited once, and answers their submatches.
func (c *command) await(from *capture, n int, pattern string) [][]string {
	c.t.Helper()
	want := regexp.MustCompile(pattern)
	tooLate := time.AfterFunc(patience, func() {
		from.mu.Lock()
		defer from.mu.Unlock()
		from.over = true
		from.more.Broadcast()
	})
	defer tooLate.Stop()
	from.mu.Lock()
	defer from.mu.Unlock()
	var found [][]string
	for i := 0; ; i++ {
		for i == len(from.lines) {
			if from.over {
				c.t.Fatalf("%d of %d lines with %s came", len(found), n, pattern)
			}
			from.more.Wait()
		}
		if m := want.FindStringSubmatch(from.lines[i]); m != nil && !from.taken[i] {
			from.taken[i] = true
			found = append(found, m)
		}
		if len(found) == n {
			return found
		}
	}
}

// awaitErr is await on stderr.
func (c *command) awaitErr(n int, pattern string) [][]string {
	c.t.Helper()
	return c.await(c.stderr, n, pattern)
}

func (c *command) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("signal %v: %v", s, err)
	}
}

// exits waits for the end and checks the exit code.
func (c *command) exits(want int) {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.t.Fatalf("wcluster does not end")
	}
	if got := c.cmd.ProcessState.ExitCode(); got != want {
		c.t.Fatalf("exit code %d, want %d (%v)", got, want, c.cmd.ProcessState)
	}
}

// stops asks for the end and checks that all is well.
func (c *command) stops() {
	c.t.Helper()
	c.signal(syscall.SIGTERM)
	c.exits(0)
}
