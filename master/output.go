package master

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/abi/ipc"
)

// Stream is one of a worker's two outputs.
type Stream uint8

// The streams, numbered like their descriptors.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// String is "stdout" or "stderr".
func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// OutputLine is a line that a worker wrote.
type OutputLine struct {
	Worker *Worker
	Stream Stream
	Text   []byte // without its newline; valid during the call
	// Cut says that no newline follows here: the line goes on in the next call because it is longer than 64 KiB, or
	// the output ended without one.
	Cut bool
}

// maxLine bounds what is held of a line while its newline has not come.
const maxLine = 64 << 10

// output reads one stream of one worker and hands it on in whole lines. Its goroutine is the only one that waits for
// a slow taker: the pipe fills, and in the end the worker's own write waits.
type output struct {
	file *os.File // the pipe's read end
	raw  syscall.RawConn
	line func(text []byte, cut bool)
	buf  []byte
	done chan struct{} // closed when everything has been handed on
}

// newOutput makes the pipe as well; its write end is the caller's.
func newOutput(line func(text []byte, cut bool)) (*output, *ipc.FD, error) {
	file, write, err := newPipe()
	if err != nil {
		return nil, nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		write.Close()
		return nil, nil, err
	}
	return &output{file: file, raw: raw, line: line, done: make(chan struct{})}, write, nil
}

// run reads until the end, or until finish and nothing is left.
func (o *output) run() {
	defer close(o.done)
	defer o.file.Close()
	chunk := make([]byte, 16<<10)
	for {
		n, err := o.file.Read(chunk)
		o.take(chunk[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			o.rest(chunk)
			break
		}
		if err != nil { // io.EOF, or nothing that reading again would cure
			break
		}
	}
	if len(o.buf) > 0 {
		o.line(o.buf, true)
	}
}

// finish says that the worker has ended: what it wrote is in the pipe, and nobody is waited for any more, even if a
// process that it left behind still holds the other end.
func (o *output) finish() { _ = o.file.SetReadDeadline(time.Now()) }

// rest takes what the pipe holds, which is bounded by the pipe unless somebody goes on writing; then by maxRest.
func (o *output) rest(chunk []byte) {
	const maxRest = 1 << 20 // the largest pipe that an unprivileged process can make
	for total := 0; total < maxRest; {
		n := 0
		err := o.raw.Control(func(fd uintptr) {
			var readErr error
			if n, readErr = ignoringEINTR(func() (int, error) { return syscall.Read(int(fd), chunk) }); readErr != nil {
				n = 0
			}
		})
		if err != nil || n <= 0 {
			return
		}
		o.take(chunk[:n])
		total += n
	}
}

func ignoringEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// take cuts lines off what has come so far.
func (o *output) take(b []byte) {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		o.put(b[:i])
		o.line(o.buf, false)
		o.buf = o.buf[:0]
		b = b[i+1:]
	}
	o.put(b)
	if cap(o.buf) > 4<<10 && len(o.buf) == 0 {
		o.buf = nil // one long line must not cost its memory for ever
	}
}

// put appends to the line, handing on each full piece of one that is too long.
func (o *output) put(b []byte) {
	for len(o.buf)+len(b) > maxLine {
		n := maxLine - len(o.buf)
		o.buf = append(o.buf, b[:n]...)
		o.line(o.buf, true)
		o.buf, b = o.buf[:0], b[n:]
	}
	o.buf = append(o.buf, b...)
}

// lineWriter writes lines whole: one Write each, under a lock. The lines of two workers never mix.
type lineWriter struct {
	mu  sync.Mutex
	to  io.Writer
	buf []byte
}

func (l *lineWriter) write(text []byte, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf[:0], text...)
	if !cut {
		l.buf = append(l.buf, '\n')
	}
	_, _ = l.to.Write(l.buf) // nobody is left to tell: the place where one would say it is this one
	if cap(l.buf) > 4<<10 {
		l.buf = nil
	}
}

// printer decides where the lines of a worker go, by the settings.
type printer struct {
	settings       *Settings
	stdout, stderr *lineWriter
}

func newPrinter(s *Settings) *printer {
	p := &printer{settings: s, stdout: &lineWriter{to: s.Stdout}}
	p.stderr = p.stdout
	if !sameWriter(s.Stdout, s.Stderr) {
		p.stderr = &lineWriter{to: s.Stderr}
	}
	return p
}

func (p *printer) forWorker(w *Worker, stream Stream) func(text []byte, cut bool) {
	switch {
	case p.settings.Output != nil:
		return func(text []byte, cut bool) {
			p.settings.Output(OutputLine{Worker: w, Stream: stream, Text: text, Cut: cut})
		}
	case p.settings.Silent:
		return func([]byte, bool) {}
	case stream == Stderr:
		return p.stderr.write
	default:
		return p.stdout.write
	}
}
