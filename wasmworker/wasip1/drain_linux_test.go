package wasip1

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// drainTest is a System with a listener and a drain that is or was on.
type drainTest struct {
	*System
	t        *testing.T
	listener uint32
	addr     string

	began time.Time
	idle  bool
	done  int // times that done was called
	cut   int
	took  time.Duration
}

func newDrainTest(t *testing.T) *drainTest {
	t.Helper()
	d := &drainTest{System: newSystem(t, Config{}), t: t, idle: true}
	d.listener, d.addr = openListener(t, d.System)
	return d
}

// hurry lets a drain's time run faster: by so much more in each tick of 10 ms.
const hurry = 19 * drainTick

func (d *drainTest) hurry() {
	d.poller.tick = func(now int64) int64 {
		s := d.System
		if now < s.drain.next {
			return s.tick(now)
		}
		s.drain.start -= hurry
		s.drain.end -= hurry
		for _, e := range s.table.entries {
			if e != nil {
				e.drain.lastWrite -= hurry
				e.drain.endedAt -= hurry
			}
		}
		return s.tick(now)
	}
}

// begin begins the drain.
func (d *drainTest) begin(timeout time.Duration, aware bool) {
	d.began = time.Now()
	d.Drain(int64(timeout), aware, func() bool { return d.idle }, func(cut int) {
		d.done++
		d.cut, d.took = cut, time.Since(d.began)
	})
}

// finish waits, as a guest that sleeps, until the drain is over, and a little longer.
func (d *drainTest) finish(cut int) {
	d.t.Helper()
	for end := time.Now().Add(patience); d.done == 0; {
		if time.Now().After(end) {
			d.t.Fatal("the drain does not end")
		}
		d.poller.WaitOnce(d.poller.Now() + drainTick)
	}
	for range 5 {
		d.poller.WaitOnce(d.poller.Now() + drainTick)
	}
	if d.done != 1 || d.cut != cut {
		d.t.Errorf("done was called %d times with %d connections cut, want once with %d", d.done, d.cut, cut)
	}
}

// request makes a connection on which the guest has read a request and, if it answers, written an answer.
func (d *drainTest) request(answer bool) (fd uint32, client net.Conn) {
	d.t.Helper()
	fd, client = connect(d.t, d.System, d.listener, d.addr)
	d.say(fd, client, "request")
	if answer {
		d.answer(fd, client, "answer")
	}
	return fd, client
}

func (d *drainTest) say(fd uint32, client net.Conn, text string) {
	d.t.Helper()
	_, err := client.Write([]byte(text))
	check(d.t, err)
	e, _ := d.table.get(fd)
	ok(d.t, d.poller.waitFor(e, ReadyRead))
	buf := make([]byte, 100)
	if n, errno := d.FdRead(fd, vec(buf)); string(buf[:n]) != text || errno != 0 {
		d.t.Fatalf("the guest reads %q, %v", buf[:n], errno)
	}
}

func (d *drainTest) answer(fd uint32, client net.Conn, text string) {
	d.t.Helper()
	_, errno := d.FdWrite(fd, vec([]byte(text)))
	ok(d.t, errno)
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(client, buf); err != nil || string(buf) != text {
		d.t.Fatalf("the client reads %q, %v", buf, err)
	}
}

// wantEnd fails the test unless the client reads the end, and no reset.
func wantEnd(t *testing.T, client net.Conn) {
	t.Helper()
	if b, err := io.ReadAll(client); len(b) != 0 || err != nil {
		t.Errorf("the client reads %q, %v; want the end", b, err)
	}
}

// wantOpen fails the test unless the client would have to wait for something to read.
func wantOpen(t *testing.T, client net.Conn) {
	t.Helper()
	check(t, client.SetReadDeadline(time.Now().Add(time.Millisecond)))
	if n, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client reads %d bytes, %v; want nothing yet", n, err)
	}
	check(t, client.SetReadDeadline(time.Now().Add(patience)))
}

const (
	short = 60 * time.Millisecond // over soon
	brief = 4 * time.Second       // over soon, in a hurry
	long  = time.Hour             // ends only by what the drain is for
)

func TestDrainWithoutConnections(t *testing.T) {
	for _, aware := range []bool{false, true} {
		d := newDrainTest(t)
		if d.Draining() {
			t.Error("draining before the drain")
		}
		d.begin(long, aware)
		if !d.Draining() || d.done != 0 {
			t.Error("done is called from within Drain")
		}
		d.begin(long, aware) // a second changes nothing
		d.finish(0)
	}
}

func TestDrainWaitsUntilTheOwnerIsIdle(t *testing.T) {
	d := newDrainTest(t)
	d.idle = false
	d.begin(long, true)
	for range 5 {
		d.poller.WaitOnce(d.poller.Now() + drainTick)
	}
	if d.done != 0 {
		t.Error("done before idle")
	}
	d.idle = true
	d.finish(0)
}

func TestDrainTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{math.MinInt64, 0, 1, short} {
		d := newDrainTest(t)
		d.idle = false
		d.request(false)
		d.begin(timeout, false)
		d.finish(1)
		if d.took < timeout {
			t.Errorf("after %v, want %v", d.took, timeout)
		}
	}
	d := newDrainTest(t)
	d.begin(math.MaxInt64, false) // does not overflow into the past
	d.idle = false
	d.poller.WaitOnce(d.poller.Now() + drainTick)
	if d.done != 0 {
		t.Error("done at once")
	}
}

func TestDrainRules(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(d *drainTest) net.Conn
		cut  int
	}{
		{"a connection that the guest has answered is ended", func(d *drainTest) net.Conn {
			_, client := d.request(true)
			return client
		}, 0},
		{"one whose answer is under way is left alone", func(d *drainTest) net.Conn {
			_, client := d.request(false)
			return client
		}, 1},
		{"one on which nothing has come is ended", func(d *drainTest) net.Conn {
			_, client := connect(d.t, d.System, d.listener, d.addr)
			return client
		}, 0},
		{"one with a request that the guest has not read is left alone", func(d *drainTest) net.Conn {
			_, client := d.request(true)
			_, err := client.Write([]byte("unread"))
			check(d.t, err)
			return client
		}, 1},
		{"one whose client has not taken all of the answer is left alone", func(d *drainTest) net.Conn {
			fd, client := d.request(true)
			check(d.t, client.(*net.TCPConn).SetReadBuffer(4096))
			full(d.t, d.System, fd)
			return client
		}, 1},
		{"a look at a request does not begin an answer", func(d *drainTest) net.Conn {
			fd, client := d.request(true)
			_, err := client.Write([]byte("x"))
			check(d.t, err)
			e, _ := d.table.get(fd)
			ok(d.t, d.poller.waitFor(e, ReadyRead))
			_, _, errno := d.SockRecv(fd, vec(make([]byte, 1)), riflagPeek)
			ok(d.t, errno)
			_, errno = d.FdRead(fd, vec(make([]byte, 1)))
			ok(d.t, errno)
			d.answer(fd, client, "answer")
			_, errno = d.FdRead(fd, vec(make([]byte, 1)))
			wantErrno(d.t, errno, abi.EAGAIN)
			return client
		}, 0},
		{"nothing written is no answer", func(d *drainTest) net.Conn {
			fd, client := d.request(false)
			_, errno := d.FdWrite(fd, vec(nil))
			ok(d.t, errno)
			return client
		}, 1},
		{"what a guest has shut its ears to is not waited for", func(d *drainTest) net.Conn {
			fd, client := d.request(true)
			ok(d.t, d.SockShutdown(fd, sdflagRead))
			_, err := client.Write([]byte("unread"))
			check(d.t, err)
			return client
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDrainTest(t)
			d.hurry()
			client := tt.open(d)
			go func() { // the client closes when it finds the end
				_, _ = io.Copy(io.Discard, &onceEmpty{client, tt.cut > 0})
				if tt.cut == 0 {
					client.Close()
				}
			}()
			d.begin(brief, false)
			d.finish(tt.cut)
			client.Close()
		})
	}
}

// onceEmpty reads nothing when a client is to be one that does not read.
type onceEmpty struct {
	net.Conn
	deaf bool
}

func (r *onceEmpty) Read(b []byte) (int, error) {
	if r.deaf {
		return 0, io.EOF
	}
	return r.Conn.Read(b)
}

func TestADrainIsPatientInItsFirstHalf(t *testing.T) {
	d := newDrainTest(t)
	fd, client := d.request(true)
	d.begin(long, false)
	d.poller.WaitOnce(d.poller.Now() + int64(300*time.Millisecond))
	wantOpen(t, client)
	d.answer(fd, client, "more") // a streaming handler pauses
	wrote := time.Now()
	end := make(chan time.Time, 1)
	go func() {
		_, _ = client.Read(make([]byte, 1))
		end <- time.Now()
		client.Close()
	}()
	d.finish(0)
	if pause := (<-end).Sub(wrote); pause < time.Duration(quietEarly) {
		t.Errorf("ended %v after a write, want %v", pause, time.Duration(quietEarly))
	}
}

func TestABusyConnectionIsEndedAtItsFirstQuietMoment(t *testing.T) {
	d := newDrainTest(t)
	d.hurry()
	fd, client := d.request(true)
	const requests = 20
	d.begin(brief, false)
	for range requests { // no pause in which it could end
		d.say(fd, client, "request")
		d.answer(fd, client, "answer")
		d.poller.WaitOnce(0)
	}
	go func() {
		wantEnd(t, client)
		client.Close()
	}()
	d.finish(0)
}

func TestTheSecondHalfIsLessPatient(t *testing.T) {
	s := newSystem(t, Config{})
	fd, peer := stream(t, s, 0)
	e := s.entryOf(fd)
	s.drain = drain{on: true, start: 1e15, end: 1e15 + 100e9}
	for _, tt := range []struct {
		name  string
		now   int64 // after the start
		wrote int64
		want  bool
	}{
		{"a pause of a second has not passed since the drain began", 1e9 - 1, 0, false},
		{"it has", 1e9, 0, true},
		{"it has not since the last write", 30e9, 29e9 + 1, false},
		{"it has since the last write", 30e9, 29e9, true},
		{"up to the half", 50e9 - 1, 49e9, false},
		{"then 10 ms do", 50e9, 50e9 - 10e6, true},
		{"and less does not", 50e9, 50e9 - 10e6 + 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e.drain.lastWrite = s.drain.start + tt.wrote
			if got := s.quiet(e, s.drain.start+tt.now); got != tt.want {
				t.Errorf("quiet: %v", got)
			}
		})
	}
	s.drain = drain{}
	peer.Close()
}
