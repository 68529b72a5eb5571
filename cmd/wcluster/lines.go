//go:build linux

package main

import (
	"io"
	"sync/atomic"
)

// lines writes lines to one file from a goroutine of its own, so that a terminal that is paused or a pipe that nobody
// reads holds up neither events nor the replacement of workers. What cannot be written is counted, not waited for.
type lines struct {
	queue  chan []byte
	lost   atomic.Uint64
	ending chan struct{} // closed when nothing more is worth waiting for
	done   chan struct{} // closed when everything has been written

	to      io.Writer
	note    func(lost uint64) []byte // the line that tells of lost ones
	buf     []byte                   // whole lines, to be written at once
	pending uint64                   // how many those are, with the lost ones that they tell of
}

const (
	// queuedLines is how many lines may wait for their file.
	queuedLines = 1024

	// linesAtOnce is how many bytes of them one write takes, unless a single line is longer.
	linesAtOnce = 32 << 10
)

func newLines(to io.Writer, note func(lost uint64) []byte) *lines {
	l := &lines{
		queue: make(chan []byte, queuedLines), ending: make(chan struct{}), done: make(chan struct{}),
		to: to, note: note,
	}
	go l.run()
	return l
}

// say queues a line, with its newline, or counts it as lost when there is no room.
func (l *lines) say(line []byte) {
	select {
	case l.queue <- line:
	default:
		l.lost.Add(1)
	}
}

// put queues a line and waits for room: it holds up the worker that wrote it, and no other.
func (l *lines) put(line []byte) {
	select {
	case l.queue <- line:
	case <-l.done:
	}
}

// close waits until what is queued has been written, but not beyond limit. To be called once; what is said later is lost.
func (l *lines) close(limit <-chan struct{}) {
	close(l.ending)
	select {
	case <-l.done:
	case <-limit:
	}
}

func (l *lines) run() {
	defer close(l.done)
	for {
		select {
		case line := <-l.queue:
			l.take(line)
		case <-l.ending:
			for len(l.queue) > 0 {
				l.take(<-l.queue)
			}
			return
		}
	}
}

// take writes when nothing more is queued: one write for many lines.
func (l *lines) take(line []byte) {
	l.add(line, 1)
	if len(l.queue) > 0 {
		return
	}
	if lost := l.lost.Swap(0); lost > 0 {
		l.add(l.note(lost), lost)
	}
	l.flush()
}

func (l *lines) add(line []byte, counts uint64) {
	if len(l.buf)+len(line) > linesAtOnce {
		l.flush()
	}
	l.buf = append(l.buf, line...)
	l.pending += counts
}

// flush writes whole lines, because another program, or our other stream, may write to the same file. A full disk or a
// closed pipe loses them; the next line is tried again.
func (l *lines) flush() {
	if len(l.buf) == 0 {
		return
	}
	if _, err := l.to.Write(l.buf); err != nil {
		l.lost.Add(l.pending)
	}
	l.buf, l.pending = l.buf[:0], 0
	if cap(l.buf) > linesAtOnce {
		l.buf = nil // one long line must not cost its memory for ever
	}
}
