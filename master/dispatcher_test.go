package master

import (
	"slices"
	"testing"
)

func TestTheDispatcherCallsInOrderAndEnds(t *testing.T) {
	d := newDispatcher()
	var got []int
	for i := range 3 {
		d.post(func() {
			got = append(got, i)
			d.post(func() { got = append(got, 10+i) })
		})
	}
	last := make(chan struct{})
	d.post(func() { d.post(func() { close(last) }) })
	<-last
	d.stop()
	d.stop()
	<-d.done
	if want := []int{0, 1, 2, 10, 11, 12}; !slices.Equal(got, want) {
		t.Errorf("called %v, want %v", got, want)
	}
	if d.post(func() {}) {
		t.Error("posted after stop")
	}
}

func TestADispatcherThatWasNeverUsedEnds(t *testing.T) {
	d := newDispatcher()
	d.stop()
	<-d.done
}

func TestTheAllowanceHoldsUpWhoeverHasUsedIt(t *testing.T) {
	a := newAllowance()
	a.take(2 * backlogLimit) // larger than the whole: taken when nothing else waits
	taken := make(chan int)
	go func() {
		a.take(1)
		taken <- 1
		a.take(backlogLimit)
		taken <- 2
	}()
	if !eventually(a.isPaused) {
		t.Error("not paused")
	}
	select {
	case <-taken:
		t.Error("taken beyond the limit")
	default:
	}
	a.give(2 * backlogLimit)
	<-taken
	if !eventually(a.isPaused) {
		t.Error("not paused")
	}
	a.waive()
	<-taken
	if a.isPaused() {
		t.Error("paused without a bound")
	}
}
