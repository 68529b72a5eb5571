package master

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestOutputIsCutIntoLines(t *testing.T) {
	long := strings.Repeat("x", maxLine+10)
	tests := []struct {
		name   string
		writes []string
		want   []string // "…" marks a cut
	}{
		{"lines", []string{"a\nb\n"}, []string{"a", "b"}},
		{"lines in pieces", []string{"a", "b\nc", "\n"}, []string{"ab", "c"}},
		{"empty lines", []string{"\n\n"}, []string{"", ""}},
		{"an end without newline", []string{"a\nb"}, []string{"a", "b…"}},
		{"a line that is too long", []string{long + "\nb\n"}, []string{long[:maxLine] + "…", long[maxLine:], "b"}},
		{"a line that just fits", []string{long[:maxLine] + "\n"}, []string{long[:maxLine]}},
		{"nothing", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			o, write, err := newOutput(func(text []byte, cut bool) {
				line := string(text)
				if cut {
					line += "…"
				}
				got = append(got, line)
			})
			if err != nil {
				t.Fatal(err)
			}
			go o.run()
			w := memfdWriter{write} // it is non-blocking: wait for room by trying again
			for _, s := range tt.writes {
				for b := []byte(s); len(b) > 0; {
					n, err := w.Write(b[:min(len(b), 4096)])
					b = b[n:]
					_ = err
				}
			}
			write.Close()
			<-o.done
			if !slices.Equal(got, tt.want) {
				t.Errorf("%d lines, want %d", len(got), len(tt.want))
			}
		})
	}
}

// A process that was left behind holds the pipe: what is in it is taken, and then it is over.
func TestOutputEndsWithItsWorker(t *testing.T) {
	var got []string
	o, write, err := newOutput(func(text []byte, cut bool) { got = append(got, string(text)) })
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	memfdWriter{write}.Write([]byte("a\nb"))
	o.finish()
	o.run()
	if !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("lines %q", got)
	}
}

// safeBuffer is written to by the workers' goroutines.
type safeBuffer struct {
	mu     sync.Mutex
	b      bytes.Buffer
	writes []string
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, string(p))
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestWorkersOutputComesInWholeLinesBeforeExit(t *testing.T) {
	var out, errs safeBuffer
	c := cluster(t, "good", func(s *Settings) { s.Silent, s.Stdout, s.Stderr = false, &out, &errs })
	r := record(c)
	atExit := make(chan string, 1)
	c.On(EventExit, func(Event) { atExit <- out.String() })
	w := fork(t, c)
	send(t, w, "complain oh\n")
	send(t, w, "print one\ntwo\nthr")
	send(t, w, "print ee\nlast")
	send(t, w, "exit 0")
	r.of(t, w, EventDeath)
	if got, want := <-atExit, "one\ntwo\nthree\nlast"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	if got := errs.String(); got != "oh\n" {
		t.Errorf("stderr %q", got)
	}
	if want := []string{"one\n", "two\n", "three\n", "last"}; !slices.Equal(out.writes, want) {
		t.Errorf("writes %q", out.writes)
	}
}

func TestAWorkerWhoseOutputIsNotTakenHoldsUpNobodyElse(t *testing.T) {
	hold := make(chan struct{})
	taken := make(chan string, 16)
	c := cluster(t, "good", func(s *Settings) {
		s.Output = func(l OutputLine) {
			if l.Worker.ID() == 1 {
				<-hold
			}
			taken <- fmt.Sprintf("%v %v %s", l.Worker, l.Stream, l.Text)
		}
	})
	r := record(c)
	blocked, free := fork(t, c), fork(t, c)
	send(t, blocked, "print held up\n")
	send(t, free, "complain free\n")
	if got := <-taken; got != "worker 2 stderr free" {
		t.Errorf("output %q", got)
	}
	// Nor does it keep its own exit for long.
	start := time.Now()
	send(t, blocked, "exit 0")
	r.of(t, blocked, EventExit)
	if took := time.Since(start); took > 10*outputGrace {
		t.Errorf("exit after %v", took)
	}
	close(hold)
	if got := <-taken; got != "worker 1 stdout held up" {
		t.Errorf("output %q", got)
	}
}
