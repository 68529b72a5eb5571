package master

import (
	"sync/atomic"
	"syscall"
	"testing"
)

// Messages of 100 bytes from one worker, through the dispatcher, to a handler that does nothing.
func BenchmarkMessagesFromAWorker(b *testing.B) {
	c := cluster(b, "good")
	var left atomic.Int64
	done := make(chan struct{})
	c.On(EventMessage, func(Event) {
		if left.Add(-1) == 0 {
			close(done)
		}
	})
	w := fork(b, c)
	left.Store(int64(b.N))
	b.ResetTimer()
	send(b, w, "stream")
	<-done
	b.StopTimer()
	w.Process().Kill(syscall.SIGKILL)
}

// From Fork to exit: a process that does nothing but come online.
func BenchmarkForkAndKill(b *testing.B) {
	c := cluster(b, "good")
	exits := make(chan struct{})
	c.On(EventOnline, func(e Event) { e.Worker.Process().Kill(syscall.SIGKILL) })
	c.On(EventExit, func(Event) { exits <- struct{}{} })
	for b.Loop() {
		fork(b, c)
		<-exits
	}
}

func BenchmarkIdleLook(b *testing.B) {
	c := cluster(b, "good", listenOn(tcp(0)))
	r := record(c)
	for range 4 {
		r.of(b, fork(b, c), EventListening)
	}
	looks := round{glances: map[*Worker]*glance{}}
	b.ReportAllocs()
	for b.Loop() {
		looks.look(c, c.Workers()[0].started)
	}
}
