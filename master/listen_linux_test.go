package master

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

func testRegistry(t *testing.T) *registry {
	t.Helper()
	c := New()
	t.Cleanup(func() { c.Close(); <-c.Done() })
	return c.registry
}

func address(t testing.TB, spec string) abi.Address {
	t.Helper()
	a, err := abi.ParseAddress(spec)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestListenAddresses(t *testing.T) {
	dir := t.TempDir()
	abstract := fmt.Sprintf("@wcluster-test-%d", os.Getpid())
	tests := []struct {
		spec, kind, host string
		dial             []string // networks that reach it on loopback
		refuse           string
	}{
		{"tcp://127.0.0.1:0", "tcp4", "127.0.0.1", []string{"tcp4"}, "tcp6"},
		{"tcp://:0", "tcp6", "::", []string{"tcp4", "tcp6"}, ""},
		{"tcp4://:0", "tcp4", "0.0.0.0", []string{"tcp4"}, "tcp6"},
		{"tcp6://:0", "tcp6", "::", []string{"tcp6"}, "tcp4"},
		{"tcp6://[::1]:0", "tcp6", "::1", []string{"tcp6"}, "tcp4"},
		{"tcp://localhost:0", "tcp4", "127.0.0.1", []string{"tcp4"}, ""},
		{"unix://" + filepath.Join(dir, "a.sock"), "unix", filepath.Join(dir, "a.sock"), []string{"unix"}, ""},
		{"unix://" + abstract, "unix", abstract, []string{"unix"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.spec, func(t *testing.T) {
			a := address(t, tt.spec)
			s, err := listen(a, a.Network == "tcp6", 0)
			if errors.Is(err, syscall.EAFNOSUPPORT) {
				t.Skip("this machine has no IPv6")
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if s.told.AddressType != tt.kind || s.told.Address != tt.host || s.told.Fd != -1 || (tt.kind == "unix") != (s.told.Port == -1) {
				t.Errorf("told %+v", s.told)
			}
			if s.address.Network != a.Network || s.address.Check() != nil {
				t.Errorf("address %+v", s.address)
			}
			for _, network := range tt.dial {
				conn, err := net.Dial(network, dialable(s, network))
				if err != nil {
					t.Error(err)
					continue
				}
				conn.Close()
			}
			if tt.refuse != "" {
				if conn, err := net.Dial(tt.refuse, dialable(s, tt.refuse)); err == nil {
					conn.Close()
					t.Errorf("%s reaches it as well", tt.refuse)
				}
			}
			flags, _ := unix.FcntlInt(uintptr(s.fd.Int()), unix.F_GETFL, 0)
			if flags&unix.O_NONBLOCK == 0 {
				t.Error("in blocking mode")
			}
			s.close()
			if tt.kind == "unix" && !strings.HasPrefix(tt.host, "@") {
				if _, err := os.Lstat(tt.host); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("socket file after close: %v", err)
				}
			}
		})
	}
}

func dialable(s *socket, network string) string {
	switch network {
	case "tcp4":
		return fmt.Sprintf("127.0.0.1:%d", s.told.Port)
	case "tcp6":
		return fmt.Sprintf("[::1]:%d", s.told.Port)
	default:
		return s.told.Address
	}
}

func TestListenErrorsSayWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tests := []struct {
		spec  string
		errno abi.Errno
		want  string
	}{
		{fmt.Sprintf("tcp://127.0.0.1:%d", port), abi.EADDRINUSE, fmt.Sprintf("listen on tcp://127.0.0.1:%d: address already in use (another program listens there; choose another port, or port 0 for any)", port)},
		{"tcp://192.0.2.1:80", abi.EADDRNOTAVAIL, "no interface of this machine has that address"},
		{"unix:///nonexistent/a.sock", abi.ENOENT, "listen on unix:///nonexistent/a.sock: no such file or directory"},
		{"fd:999", abi.EBADF, "no such descriptor is open"},
		{fmt.Sprintf("fd:%d", file.Fd()), abi.ENOTSOCK, "must be a stream socket"},
	}
	for _, tt := range tests {
		a := address(t, tt.spec)
		s, err := listen(a, false, 0)
		if err == nil {
			s.close()
			t.Errorf("%s: no error", tt.spec)
			continue
		}
		if errno := errnoOf(err); errno != tt.errno {
			t.Errorf("%s: errno %v, want %v", tt.spec, errno, tt.errno)
		}
		if text := listenError(a, err).Error(); !strings.Contains(text, tt.want) {
			t.Errorf("%s: %q, want %q", tt.spec, text, tt.want)
		}
	}
	denied := listenError(tcp(80), &os.SyscallError{Syscall: "bind", Err: syscall.EACCES}).Error()
	if denied != "listen on tcp://127.0.0.1:80: permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)" {
		t.Errorf("%q", denied)
	}
}

func TestAStaleUnixSocketIsReplacedAndALiveOneIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	live := abi.Address{Network: "unix", Path: path}
	if _, err := listen(live, false, 0); err != unix.EADDRINUSE {
		t.Errorf("beside a living server: %v", err)
	}
	dead.Close()
	s, err := listen(live, false, 0)
	if err != nil {
		t.Fatalf("after a dead server: %v", err)
	}
	// Another server takes the path over: our end must not remove its file.
	os.Remove(path)
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s.close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other server's file: %v", err)
	}
	// What is no socket is left alone.
	plain := filepath.Join(t.TempDir(), "plain")
	os.WriteFile(plain, []byte("precious"), 0o600)
	if _, err := listen(abi.Address{Network: "unix", Path: plain}, false, 0); err != unix.EADDRINUSE {
		t.Errorf("on a plain file: %v", err)
	}
	if text, _ := os.ReadFile(plain); string(text) != "precious" {
		t.Error("a plain file was replaced")
	}
}

func TestRegistryShares(t *testing.T) {
	r := testRegistry(t)
	key := keyOf(tcp(0), false)
	first, a, err := r.acquire(key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	again, b, err := r.acquire(key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if first != again {
		t.Error("the second asker got another socket")
	}
	key.index = 1
	other, d, err := r.acquire(key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if other == first || other.told.Port == first.told.Port {
		t.Error("the second open of port 0 is the first one's socket")
	}
}

func TestABindErrorLeavesNothingBehind(t *testing.T) {
	r := testRegistry(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	key := keyOf(tcp(uint16(taken.Addr().(*net.TCPAddr).Port)), false)
	for range 3 {
		if _, _, err := r.acquire(key, 0); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("acquire: %v", err)
		}
	}
	taken.Close()
	_, fd, err := r.acquire(key, 0)
	if err != nil {
		t.Fatalf("a retry after the port became free: %v", err)
	}
	fd.Close()
}

func TestRegistryIsBounded(t *testing.T) {
	r := testRegistry(t)
	for i := range maxSockets {
		r.sockets[socketKey{index: uint32(i) + 1}] = &socket{}
	}
	if _, _, err := r.acquire(keyOf(tcp(0), false), 0); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("acquire: %v", err)
	}
	clear(r.sockets)
	r.refuse()
	if _, _, err := r.acquire(keyOf(tcp(0), false), 0); !errors.Is(err, syscall.ECANCELED) {
		t.Errorf("acquire: %v", err)
	}
}

func TestAdoptedSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	defer file.Close()
	n := int(file.Fd()) // and now it is in blocking mode
	fd := abi.Address{Network: "fd", Fd: n}
	c := cluster(t, "good", listenOn(fd))
	r := record(c)
	w := fork(t, c)
	e := r.of(t, w, EventListening)
	if e.Address.Fd != n || e.Address.AddressType != "tcp4" || e.Address.Port == 0 {
		t.Errorf("listening %+v", e.Address)
	}
	if flags, _ := unix.FcntlInt(uintptr(n), unix.F_GETFL, 0); flags&unix.O_NONBLOCK == 0 {
		t.Error("in blocking mode")
	}
	if got := visit(t, c.Listeners()[0]); got != "1" {
		t.Errorf("worker %q answered", got)
	}
	done := make(chan struct{})
	c.Disconnect(func() { close(done) })
	<-done
	// The other owner's socket lives on and takes connections.
	conn, err := net.Dial("tcp", e.Address.String())
	if err != nil {
		t.Fatalf("after Disconnect: %v", err)
	}
	conn.Close()
}

func TestAGuestListensOnADescriptorThatTheSettingsList(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l.Close()
	n := int(file.Fd())
	c := cluster(t, "good", func(s *Settings) { s.FDs = []int{n} })
	r := record(c)
	w := fork(t, c)
	send(t, w, fmt.Sprintf("listen fd:%d", n))
	if e := r.of(t, w, EventListening); e.Address.Fd != n || e.Address.AddressType != "tcp4" {
		t.Errorf("listening %+v", e.Address)
	}
	send(t, w, fmt.Sprintf("listen fd:%d", n+1))
	if got := r.said(t, w, "errno"); got != "errno EACCES" {
		t.Errorf("another descriptor: %q", got)
	}
}

func TestGuestsListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	c := cluster(t, "good", func(s *Settings) {
		s.MayListen = func(a abi.Address) bool { return a.Host != "127.0.0.99" }
	})
	r := record(c)
	first, second := fork(t, c), fork(t, c)
	ask := func(w *Worker, spec string) string {
		t.Helper()
		seen := len(r.lines())
		send(t, w, "listen "+spec)
		var got string
		r.until(t, "answer to listen "+spec, func(all []Event) bool {
			for _, line := range r.trace[seen:] {
				if rest, ok := strings.CutPrefix(line, "cluster message "); ok && rest != "nudged" {
					got = rest
					return true
				}
			}
			return false
		})
		return got
	}
	// Every worker's n-th listen on port 0 is the same port, and the n-th is another than the first.
	a1, a2 := ask(first, "tcp://127.0.0.1:0"), ask(first, "tcp://127.0.0.1:0")
	b1, b2 := ask(second, "tcp://127.0.0.1:0"), ask(second, "tcp://127.0.0.1:0")
	if a1 != b1 || a2 != b2 || a1 == a2 || !strings.HasPrefix(a1, "listening tcp://127.0.0.1:") {
		t.Errorf("ports %q %q, %q %q", a1, a2, b1, b2)
	}
	if got := visit(t, address(t, strings.TrimPrefix(a1, "listening "))); got != "1" && got != "2" {
		t.Errorf("worker %q answered", got)
	}
	tests := map[string]string{
		"unix://" + path:       "listening unix://" + path,
		"tcp://192.0.2.1:80":   "errno EADDRNOTAVAIL",
		"tcp://127.0.0.99:0":   "errno EACCES",
		"fd:0003":              "errno EACCES",
		"tcp://127.0.0.1:0 99": "errno EINVAL",
	}
	for spec, want := range tests {
		if got := ask(second, spec); got != want {
			t.Errorf("listen %s: %q, want %q", spec, got, want)
		}
	}
	e := r.until(t, "listening on the path", func(all []Event) bool {
		for _, e := range all {
			if e.Address.Address == path && e.Address.Port == -1 && e.Worker == second {
				return true
			}
		}
		return false
	})
	_ = e
	// After the workers' end the sockets are open, and a new worker gets the same port.
	for _, w := range []*Worker{first, second} {
		w.Process().Kill(syscall.SIGKILL)
		r.of(t, w, EventExit)
	}
	third := fork(t, c)
	if got := ask(third, "tcp://127.0.0.1:0"); got != a1 {
		t.Errorf("after a restart %q, before %q", got, a1)
	}
	third.Disconnect()
	r.of(t, third, EventExit)
	done := make(chan struct{})
	c.Disconnect(func() { close(done) })
	<-done
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket file after Disconnect: %v", err)
	}
}

func TestListenWhileLeavingIsCanceled(t *testing.T) {
	c := New()
	defer c.Close()
	if err := c.SetupMaster(Settings{}); err != nil {
		t.Fatal(err)
	}
	w := &Worker{cluster: c, phase: phaseLeaving}
	if got := w.mayListen(&abi.Listen{Address: tcp(0)}); got != abi.ECANCELED {
		t.Errorf("%v", got)
	}
	w.phase = phaseOnline
	w.talk.grants = make([]grant, maxGrants)
	if got := w.mayListen(&abi.Listen{Address: tcp(0)}); got != abi.EMFILE {
		t.Errorf("%v", got)
	}
	w.talk.grants = nil
	for _, bad := range []abi.Listen{
		{Address: abi.Address{Network: "udp", Port: 53}},
		{Address: abi.Address{Network: "tcp", Host: "example.org"}},
		{Address: abi.Address{Network: "unix", Path: "a\x00b"}},
		{Address: abi.Address{Network: "unix", Path: "/a", Port: 7}},
		{Address: tcp(0), Backlog: -1},
		{Address: tcp(0), Flags: 1 << 30},
	} {
		if got := w.mayListen(&bad); got != abi.EINVAL {
			t.Errorf("%+v: %v", bad, got)
		}
	}
	if got := w.mayListen(&abi.Listen{Address: abi.Address{Network: "fd", Fd: 5}}); got != abi.EACCES {
		t.Errorf("an unlisted descriptor: %v", got)
	}
}

// The filter of the drain: who is in the queue is served, who comes later is not let in, nobody is reset.
func TestTheDrainFilterDropsNewConnectionsAndKeepsOldOnes(t *testing.T) {
	for _, spec := range []string{"tcp://127.0.0.1:0", "tcp6://[::1]:0", "tcp://:0"} {
		t.Run(spec, func(t *testing.T) { testDrainFilter(t, address(t, spec)) })
	}
}

func testDrainFilter(t *testing.T, a abi.Address) {
	s, err := listen(a, false, 0)
	if errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Skip("this machine has no IPv6")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	where := dialable(s, "tcp4")
	if a.Network == "tcp6" {
		where = dialable(s, "tcp6")
	}
	const n = 20
	var waiting []net.Conn
	for range n {
		conn, err := net.Dial("tcp", where)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		waiting = append(waiting, conn)
	}
	if got := s.waiting(); got != n {
		t.Errorf("%d wait, want %d", got, n)
	}
	if err := s.closeDoor(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.DialTimeout("tcp", where, 50*time.Millisecond); err == nil {
		conn.Close()
		t.Error("a new connection was let in")
	} else if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a new connection was answered: %v", err)
	}
	for _, conn := range waiting {
		fd, _, err := unix.Accept4(s.fd.Int(), unix.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		unix.Write(fd, []byte("hello"))
		unix.Close(fd)
		if text, err := io.ReadAll(conn); err != nil || string(text) != "hello" {
			t.Errorf("a connection from the queue got %q, %v", text, err)
		}
	}
	if got := s.waiting(); got != 0 {
		t.Errorf("%d wait", got)
	}
}

func TestDrainingWaitsForTheQueuesWhileSomebodyAccepts(t *testing.T) {
	r := testRegistry(t)
	path := filepath.Join(t.TempDir(), "a.sock")
	var conns []net.Conn
	for _, a := range []abi.Address{tcp(0), {Network: "unix", Path: path}} {
		s, err := r.hold(keyOf(a, false), 0)
		if err != nil {
			t.Fatal(err)
		}
		network := "tcp4"
		if a.Network == "unix" {
			network = "unix"
		}
		conn, err := net.Dial(network, dialable(s, network))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	looks := 0
	r.emptyQueues(func() bool {
		if looks++; looks == 10 {
			r.each(func(s *socket) {
				fd, _, err := unix.Accept4(s.fd.Int(), unix.SOCK_CLOEXEC)
				if err != nil {
					t.Error(err)
				}
				unix.Close(fd)
			})
		}
		return true
	})
	if looks < 10 {
		t.Errorf("gave up after %d looks", looks)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket file in the drain: %v", err)
	}
	start := time.Now()
	r.emptyQueues(func() bool { return false })
	if took := time.Since(start); took > drainLimit/2 {
		t.Errorf("waited %v though nobody accepts", took)
	}
}

// Clients connect without pause while the cluster disconnects: none that got a connection loses it.
func TestDisconnectResetsNobody(t *testing.T) {
	c := cluster(t, "good", listenOn(tcp(0)))
	r := record(c)
	for range 2 {
		r.of(t, fork(t, c), EventListening)
	}
	a := c.Listeners()[0]
	where := fmt.Sprintf("127.0.0.1:%d", a.Port)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var mu sync.Mutex
	served, lost := 0, []error{}
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := net.DialTimeout("tcp", where, 100*time.Millisecond)
				if err != nil {
					return // refused, or the filter: it never had a connection
				}
				conn.SetDeadline(time.Now().Add(patience))
				text, err := io.ReadAll(conn)
				conn.Close()
				mu.Lock()
				if err != nil || len(text) == 0 {
					lost = append(lost, fmt.Errorf("%q %v", text, err))
				} else {
					served++
				}
				mu.Unlock()
			}
		})
	}
	if !eventually(func() bool { mu.Lock(); defer mu.Unlock(); return served > 100 }) {
		t.Fatal("nobody is served")
	}
	done := make(chan struct{})
	c.Disconnect(func() { close(done) })
	<-done
	close(stop)
	clients.Wait()
	if len(lost) > 0 {
		t.Errorf("%d served, %d lost: %v", served, len(lost), lost[0])
	}
}
