package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// visitor makes one request on a connection of its own and answers the body.
func visit(t *testing.T, network, address string) string {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	resp, err := client.Get("http://wcluster/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return strings.TrimSpace(string(body))
}

// visitAll makes requests until every one of the workers has answered one. How the kernel spreads connections is no
// promise, so this has a limit in time alone.
func visitAll(t *testing.T, network, address string, workers ...int) {
	t.Helper()
	want := map[string]bool{}
	for _, w := range workers {
		want[fmt.Sprintf("hello from worker %d", w)] = true
	}
	for end := time.Now().Add(patience); len(want) > 0; {
		if time.Now().After(end) {
			t.Fatalf("no answer from %v", want)
		}
		delete(want, visit(t, network, address))
	}
}

// bound is the address of the first line.
func bound(t *testing.T, c *command) string {
	t.Helper()
	return c.awaitErr(1, `^wcluster: listening on tcp://(127\.0\.0\.1:[1-9]\d*)$`)[0][1]
}

const anyPort = "tcp://127.0.0.1:0"

func TestRunServes(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, helloC), "-n", "4", "--listen", anyPort})
	address := bound(t, c)
	c.awaitErr(4, `^wcluster: worker [1-4] online \(pid \d+\)$`)
	c.awaitErr(4, `^wcluster: worker [1-4] listening on tcp://`+regexp.QuoteMeta(address)+`$`)
	visitAll(t, "tcp", address, 1, 2, 3, 4)

	t.Run("workers have a name in ps", func(t *testing.T) {
		var names []string
		for _, pid := range c.pids() {
			names = append(names, cmdline(pid))
		}
		slices.Sort(names)
		want := []string{
			"wcluster: worker 1 (hello.wasm)", "wcluster: worker 2 (hello.wasm)",
			"wcluster: worker 3 (hello.wasm)", "wcluster: worker 4 (hello.wasm)",
		}
		if !slices.Equal(names, want) {
			t.Errorf("ps shows %q, want %q", names, want)
		}
	})
	c.stops()
	c.awaitErr(1, `^wcluster: SIGTERM: `)
	c.awaitErr(4, `^wcluster: worker [1-4] exited with code 0$`)
	c.awaitErr(1, `^wcluster: 4 workers, 0 restarts, [1-9]\d* connections accepted, 0 cut$`)
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("somebody still listens")
	}
	if got := c.stdout.String(); got != "" {
		t.Errorf("on stdout is %q", got)
	}
}

func TestRunReplaces(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, helloC), "-n", "2", "--listen", anyPort})
	address := bound(t, c)
	c.awaitErr(2, `listening on tcp://`)
	if err := syscall.Kill(c.pids()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone := c.awaitErr(1, `^wcluster: worker ([12]) killed by SIGKILL$`)[0][1]
	c.awaitErr(1, `^wcluster: worker `+gone+` is replaced in .*$`)
	c.awaitErr(1, `^wcluster: worker 3 listening on`)
	left := 1
	if gone == "1" {
		left = 2
	}
	visitAll(t, "tcp", address, left, 3)
	c.stops()
	c.awaitErr(1, `^wcluster: 3 workers, 1 restart, `)
}

// TestRunUnaware: servers that know nothing of the cluster find their socket at descriptor 3.
func TestRunUnaware(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, pollC), "-n", "2", "--listen", anyPort})
	address := bound(t, c)
	c.awaitErr(2, `worker \d listening on tcp://`+regexp.QuoteMeta(address)+`$`)
	visitAll(t, "tcp", address, 1, 2)
	c.stops()
}

func TestRunGo(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", helloGo(), "-n", "2", "--listen", anyPort})
	address := bound(t, c)
	c.awaitErr(2, `worker \d listening on tcp://`+regexp.QuoteMeta(address)+`$`)
	visitAll(t, "tcp", address, 1, 2)
	c.stops()
}

func TestRunUnix(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.sock")
	c := start(t, []string{"run", guest(t, pollC), "-n", "2", "--listen", "unix://" + path})
	c.awaitErr(1, `^wcluster: listening on unix://`+regexp.QuoteMeta(path)+`$`)
	c.awaitErr(2, `worker \d listening on unix://`+regexp.QuoteMeta(path)+`$`)
	visitAll(t, "unix", path, 1, 2)
	c.stops()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket's file is still there: %v", err)
	}
}

// TestRunInherited: a socket of wcluster's own, here as a service manager passes it. Its number there, 4, is not the
// guest's, and workers inherit neither it nor anything else.
func TestRunInherited(t *testing.T) {
	t.Parallel()
	l, address := listenTCP(t)
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	other, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	c := start(t, []string{"run", guest(t, pollC), "-n", "2", "--listen", "fd:4"}, inherit(other), inherit(socket))
	c.awaitErr(2, `worker \d listening on tcp://`+regexp.QuoteMeta(address)+`$`)
	for _, pid := range c.pids() {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/4", pid)); err == nil && to == os.DevNull {
			t.Errorf("process %d has inherited %s", pid, to)
		}
		open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		same := 0
		for _, fd := range open {
			if to, _ := os.Readlink(fd); to == socketName(t, socket) {
				same++
			}
		}
		if same != 1 {
			t.Errorf("process %d has the socket %d times", pid, same)
		}
	}
	visitAll(t, "tcp", address, 1, 2)
	c.stops()
}

// TestActivation: sockets of a service manager have the names that it gave them, unless they were meant for another
// process.
func TestActivation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, script, want string }{
		{"for this process", `LISTEN_PID=$$ exec "$0" "$@"`, "web:mine:listen2"},
		{"for another process", `LISTEN_PID=1 exec "$0" "$@"`, "listen0:mine:listen2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var sockets []setup
			for range 3 {
				l, _ := listenTCP(t)
				socket, err := l.(*net.TCPListener).File()
				if err != nil {
					t.Fatal(err)
				}
				defer socket.Close()
				sockets = append(sockets, inherit(socket))
			}
			shell := func(cmd *exec.Cmd) {
				cmd.Args = append([]string{"sh", "-c", c.script}, cmd.Args...)
				cmd.Path = "/bin/sh"
			}
			r := start(t, []string{
				"run", guest(t, envGuest), "-n", "1", "--listen", "fd:3", "--listen", "mine=fd:4", "--listen", "fd:5",
			}, append(sockets, shell, withEnv("LISTEN_FDS=2", "LISTEN_FDNAMES=web:admin:beyond"))...)
			r.exits(0)
			r.await(r.stdout, 1, `env LISTEN_FDNAMES=`+c.want+`$`)
		})
	}
}

// socketName is "socket:[4711]".
func socketName(t *testing.T, f *os.File) string {
	t.Helper()
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// unfinished is a connection of a client that has begun a request and does not end it; the worker has accepted it.
func unfinished(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	visit(t, "tcp", address) // it came later, so with one worker the first one has been accepted
}

// TestSecondSignal: what the first one waits for, a client that never ends its request, the second does not.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for sig, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.sock")
			c := start(t, []string{"run", guest(t, helloC), "-n", "1", "--listen", anyPort, "--listen", "unix://" + path})
			unfinished(t, bound(t, c))
			c.signal(sig)
			c.awaitErr(1, `a second signal ends them at once`)
			c.signal(sig)
			c.exits(code)
			c.awaitErr(1, `^wcluster: worker 1 killed by SIGKILL$`)
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("the socket's file is still there: %v", err)
			}
		})
	}
}

// TestGracefulTimeout: a client that never ends its request is cut at the end, and counted.
func TestGracefulTimeout(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, helloC), "-n", "1", "--listen", anyPort, "--graceful-timeout", "200ms"})
	address := bound(t, c)
	unfinished(t, address)
	c.stops()
	c.awaitErr(1, `^wcluster: worker 1 exited with code 0; 1 connection cut$`)
	c.awaitErr(1, `^wcluster: 1 worker, 0 restarts, 2 connections accepted, 1 cut$`)
}

// TestSignalWhileCompiling: nothing has begun yet, and nothing stays.
func TestSignalWhileCompiling(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", helloGo(), "--cache", t.TempDir(), "--json"})
	c.await(c.stdout, 1, `"event":"compile"`)
	c.stops()
}

// TestMasterKilled: the workers die with it, also one that does not wait for anything, and what they held is free for the
// next start.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct{ name, module, address, online string }{
		{"workers that spin", "testdata/guests/spin/spin.wasm", anyPort, `online`},
		{"workers that serve", helloC, "tcp://" + freePort(t), `worker \d listening on`},
		{"workers that serve on a unix socket", helloC, "unix://" + dir + "/app.sock", `worker \d listening on`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := []string{"run", guest(t, c.module), "-n", "2", "--listen", c.address}
			r := start(t, args)
			r.awaitErr(2, c.online)
			pids := r.pids()
			r.signal(syscall.SIGKILL)
			killed := time.Now()
			<-r.ended
			for slices.ContainsFunc(pids, isWorker) {
				if time.Since(killed) > time.Second {
					t.Fatal("a worker lives on after a second")
				}
				time.Sleep(time.Millisecond)
			}
			again := start(t, args)
			again.awaitErr(2, c.online)
			again.signal(syscall.SIGTERM)
			again.awaitErr(1, `a second signal ends them at once`)
			again.signal(syscall.SIGTERM) // the one that spins hears nothing
			<-again.ended
		})
	}
}

// freePort is an address on which nobody listens, for the moment.
func freePort(t *testing.T) string {
	t.Helper()
	l, address := listenTCP(t)
	l.Close()
	return address
}
