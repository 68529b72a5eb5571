package master

import (
	"slices"
	"testing"
)

func TestHandlersComeAndGo(t *testing.T) {
	c := New()
	var got []string
	say := func(s string) Handler { return func(Event) { got = append(got, s) } }
	off := c.On(EventOnline, say("a"))
	c.Once(EventOnline, say("once"))
	var offB func()
	c.On(EventOnline, func(Event) { offB() })
	offB = c.On(EventOnline, say("b"))
	c.On(EventOnline, func(Event) { c.On(EventOnline, say("late")) })
	c.subs.emit(Event{Kind: EventOnline})
	off()
	off()
	c.subs.emit(Event{Kind: EventOnline})
	if want := []string{"a", "once", "late"}; !slices.Equal(got, want) {
		t.Errorf("called %v, want %v", got, want)
	}
}

func TestHandlersMayCallAnything(t *testing.T) {
	c := cluster(t, "good")
	r := record(c)
	died := 0
	c.On(EventExit, func(e Event) {
		if died++; died < 3 {
			if _, err := c.Fork(); err != nil {
				t.Error(err)
			}
			return
		}
		c.Disconnect(nil)
	})
	c.On(EventOnline, func(e Event) { e.Worker.Send([]byte("exit 1")) })
	fork(t, c)
	r.event(t, EventExit, 3)
	if w := r.event(t, EventExit, 3).Worker; w.ID() != 3 {
		t.Errorf("the third is %v", w)
	}
}
