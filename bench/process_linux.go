package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// answerLimit is how long a server may take to its first answer.
	answerLimit = 20 * time.Second

	// stopGrace is how long a server may take to end after SIGTERM, before SIGKILL.
	stopGrace = 3 * time.Second

	// orphanGrace is how long its descendants may outlive it, before SIGKILL.
	orphanGrace = 500 * time.Millisecond

	// logTail is how much of a server's output is shown when it fails.
	logTail = 2000

	// greeting begins the body of every server's answer.
	greeting = "hello from worker "
)

// process is a server that runs: its first process, with all that descends from it.
type process struct {
	server  *server
	pid     int
	started time.Time
	log     string // path of its output
	done    chan struct{}
	end     error // of the first process, once done is closed

	restSockets []int // of each worker, when there was no connection
}

// adoptOrphans makes us the parent of processes whose own parent has ended, in place of init: so stop finds them.
func adoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt orphans: %w", os.NewSyscallError("prctl", err))
	}
	return nil
}

// startProcess starts a server; what it writes goes to the file log, or, stdout alone, to the given file. The caller
// must be a goroutine on a thread that stays: if this process is killed, the kernel tells the server, but it tells it at
// the end of the thread.
func startProcess(s *server, c command, log string, stdout *os.File) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.name, err)
	}
	defer out.Close()
	if stdout == nil {
		stdout = out
	}
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = c.env
	cmd.Stdout, cmd.Stderr = stdout, out
	// A group of its own: ctrl-C is for us, and we stop it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p := &process{server: s, log: log, done: make(chan struct{}), started: time.Now()}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.name, err)
	}
	p.pid = cmd.Process.Pid
	go func() {
		p.end = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// family is the first process with what descends from it, and those of them that serve.
func (p *process) family() (all, workers []int, err error) {
	below, err := descendants(p.pid)
	if err != nil {
		return nil, nil, err
	}
	workers = pids(below)
	all = append([]int{p.pid}, workers...)
	if p.server.alone {
		workers = all
	}
	return all, workers, nil
}

// alive answers how the first process has ended, with the end of its output, or nil.
func (p *process) alive() error {
	select {
	case <-p.done:
		return p.withLog(fmt.Errorf("%s has ended: %s", p.server.name, exitText(p.end)))
	default:
		return nil
	}
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// withLog adds the end of the server's output to an error.
func (p *process) withLog(err error) error {
	out, readErr := os.ReadFile(p.log)
	out = bytes.TrimSpace(out)
	if readErr != nil || len(out) == 0 {
		return err
	}
	if len(out) > logTail {
		out = append([]byte("… "), out[len(out)-logTail:]...)
	}
	return fmt.Errorf("%w; it wrote:\n    %s", err, strings.ReplaceAll(string(out), "\n", "\n    "))
}

// firstAnswer waits until the server answers a request, and returns the time since its start.
func (p *process) firstAnswer(ctx context.Context, address string) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, errors.New("no answer in "+answerLimit.String()))
	defer cancel()
	for {
		err := ask(ctx, address)
		if err == nil {
			return time.Since(p.started), nil
		}
		if ended := p.alive(); ended != nil {
			return 0, ended
		}
		if ctx.Err() != nil {
			return 0, p.withLog(fmt.Errorf("ask %s: %w (last: %w)", p.server.name, context.Cause(ctx), err))
		}
		if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, p.withLog(fmt.Errorf("ask %s: %w", p.server.name, err))
		}
		// Nothing tells when a port opens. A tenth of the quickest start is the error.
		time.Sleep(200 * time.Microsecond)
	}
}

// ask makes one request on a connection of its own.
func ask(ctx context.Context, address string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), greeting) {
		return fmt.Errorf("answer is %s with %q, not 200 with %q", answer.Status, body, greeting+"1\n")
	}
	return nil
}

// stop ends the server and all that it has started.
func (p *process) stop() error {
	// Ended already: so is the pid, which is another's by now.
	if p.alive() == nil {
		unix.Kill(p.pid, unix.SIGTERM)
	}
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		unix.Kill(p.pid, unix.SIGKILL)
		<-p.done
	}
	return endOrphans()
}

// endOrphans waits until we have no descendants, and ends those that stay.
func endOrphans() error {
	kill := time.Now().Add(orphanGrace)
	for deadline := kill.Add(stopGrace); ; time.Sleep(time.Millisecond) {
		left, err := descendants(os.Getpid())
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("end processes %v: they outlive SIGKILL; look at what they wait for", pids(left))
		}
		for _, o := range left {
			if o.state == 'Z' && o.parent == os.Getpid() {
				unix.Wait4(o.pid, nil, unix.WNOHANG, nil)
			} else if time.Now().After(kill) {
				unix.Kill(o.pid, unix.SIGKILL)
			}
		}
	}
}

// freePort is one that nobody listens on now.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
