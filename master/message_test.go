package master

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

func TestMessages(t *testing.T) {
	c := cluster(t, "good", func(s *Settings) { s.MaxMessage = 100_000 })
	r := record(c)
	w := fork(t, c)
	// Before online, and from a slice that is used again at once.
	message := []byte("echo one")
	if err := w.Send(message); err != nil {
		t.Fatal(err)
	}
	copy(message, "exit 666")
	send(t, w, "echo "+strings.Repeat("x", 99_000))
	r.said(t, w, "one")
	if got := r.said(t, w, "xxx"); len(got) != 99_000 {
		t.Errorf("%d bytes came back", len(got))
	}
	if err := w.Send(make([]byte, 100_001)); !errors.Is(err, ErrMessageSize) {
		t.Errorf("send: %v", err)
	}
	if f := w.Figures(); f.MessagesIn != 2 || f.Activity != abi.StateWaiting {
		t.Errorf("figures %+v", f)
	}
}

func TestEveryMessageThatReachedTheChannelIsToldBeforeDisconnect(t *testing.T) {
	const n = 5000
	c := cluster(t, "good")
	r := record(c)
	hold := make(chan struct{})
	var once sync.Once
	c.On(EventMessage, func(Event) { once.Do(func() { <-hold }) })
	w := fork(t, c)
	send(t, w, fmt.Sprintf("burst %d", n))
	r.until(t, "the first message", func(all []Event) bool {
		return slices.ContainsFunc(all, func(e Event) bool { return e.Kind == EventMessage })
	})
	<-w.gone // the process has ended, and the handler is still busy with the first
	close(hold)
	if e := r.of(t, w, EventExit).Exit; e.Code != 3 {
		t.Errorf("exit %v", e)
	}
	next := 0
	for _, line := range r.lines() {
		if rest, ok := strings.CutPrefix(line, "cluster message "); ok {
			if rest != fmt.Sprint(next) {
				t.Fatalf("message %q, want %d", rest, next)
			}
			next++
		}
		if line == "cluster disconnect" && next != n {
			t.Fatalf("%d messages before disconnect", next)
		}
	}
	if next != n {
		t.Errorf("%d messages", next)
	}
}

func TestSendSaysWhenTheGuestDoesNotTakeItsMessages(t *testing.T) {
	c := cluster(t, "never-reads")
	r := record(c)
	w := fork(t, c)
	r.said(t, w, "ready")
	body := make([]byte, 64<<10)
	sent := 0
	for ; sent < 1000; sent++ {
		err := w.Send(body)
		if errors.Is(err, ErrQueueFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := abi.InboxWindow / (len(body) + abi.HeaderSize); sent != want {
		t.Errorf("%d messages were taken, want %d", sent, want)
	}
	if q := w.conn.Queued(); q > abi.InboxWindow {
		t.Errorf("%d bytes are queued", q)
	}
	w.Destroy()
	r.of(t, w, EventExit)
}

func TestAWorkerThatFloodsIsReadNoFasterThanItsMessagesAreHandled(t *testing.T) {
	c := cluster(t, "flood")
	hold, first := make(chan struct{}), make(chan *Worker, 1)
	var once sync.Once
	c.On(EventMessage, func(e Event) {
		once.Do(func() {
			first <- e.Worker
			<-hold
		})
	})
	w := fork(t, c)
	<-first
	if !eventually(func() bool { return w.Figures().Paused }) {
		t.Error("the flood is not paused")
	}
	w.backlog.mu.Lock()
	used := w.backlog.used
	w.backlog.mu.Unlock()
	if used > backlogLimit {
		t.Errorf("%d bytes wait for the dispatcher", used)
	}
	close(hold)
	w.Destroy()
}

func TestAControlFloodIsPacedAndAnswered(t *testing.T) {
	c := cluster(t, "control-flood")
	r := record(c)
	w := fork(t, c)
	r.of(t, w, EventOnline)
	start := time.Now()
	if !eventually(func() bool { return w.Figures().Calls > 1500 }) {
		t.Error("no answers")
	}
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("1500 control frames in %v", took)
	}
	w.Destroy()
	r.of(t, w, EventExit)
}

func TestPing(t *testing.T) {
	c := cluster(t, "good")
	r := record(c)
	w := fork(t, c)
	if _, err := w.Ping(t.Context()); err == nil && w.State() == StateForked {
		t.Error("ping before online was answered")
	}
	r.of(t, w, EventOnline)
	if took, err := w.Ping(t.Context()); err != nil || took <= 0 {
		t.Errorf("ping: %v, %v", took, err)
	}
	w.Process().Kill(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := w.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping of a stopped worker: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := w.Ping(context.Background())
		ended <- err
	}()
	w.Process().Kill(syscall.SIGKILL)
	if err := <-ended; !errors.Is(err, ErrDisconnected) {
		t.Errorf("ping of a killed worker: %v", err)
	}
	r.of(t, w, EventExit)
	if _, err := w.Ping(t.Context()); !errors.Is(err, ErrDisconnected) {
		t.Errorf("ping of a dead worker: %v", err)
	}
}
