package ipc

import (
	"slices"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

// A receiver whose table is full gets fewer descriptors than were sent. The frame says so by having fewer, and every
// other frame has its own.
func TestTruncatedFrames(t *testing.T) {
	for _, tt := range []struct {
		name string
		room int // for descriptors, when the second frame comes
		part int // bytes of the first frame, which has one descriptor, that come before the table is full
		want int // descriptors of the second frame, which was sent with three
	}{
		{"one of three descriptors fits", 1, 0, 1},
		{"no descriptor fits", 0, 0, 0},
		{"all but one fit", 2, 0, 2},
		{"the frame in front still waits for its body and has its descriptor", 1, 13, 1},
		{"the frame in front has its descriptor and nothing fits behind it", 0, 13, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !inChild(t) {
				return
			}
			master, worker := newPair(t)
			files := newFiles(t, 5)
			first := frame(abi.KindListenDone, 1, "first")
			r := NewReader(abi.Master, 100)
			var frames []Frame
			keep := func(f Frame) {
				f.FDs = slices.Clone(f.FDs)
				frames = append(frames, f)
			}

			part := max(tt.part, len(first)*min(1, 1-tt.part)) // all of it where no part is asked for
			sendRaw(t, master, first[:part], files[0])
			if err := drain(r, worker, keep); err != nil {
				t.Fatal(err)
			}
			empty := fillTable(t, tt.room)
			sendRaw(t, master, first[part:])
			sendRaw(t, master, frame(abi.KindConfig, 3, "second"), files[1:4]...)
			err := drain(r, worker, keep)
			empty()
			if err != ErrTruncated {
				t.Errorf("error %v, want ErrTruncated", err)
			}
			sendRaw(t, master, frame(abi.KindListenDone, 1, "third"), files[4])
			if err := drain(r, worker, keep); err != nil {
				t.Fatal(err)
			}

			want := [][]*FD{files[:1], files[1 : 1+tt.want], files[4:]}
			if len(frames) != len(want) {
				t.Fatalf("%d frames came, want %d", len(frames), len(want))
			}
			for i, f := range frames {
				var got, sent []uint64
				for _, fd := range f.FDs {
					got = append(got, inode(t, fd))
				}
				for _, fd := range want[i] {
					sent = append(sent, inode(t, fd))
				}
				if !slices.Equal(got, sent) {
					t.Errorf("frame %d, %q, has the files %v, want %v", i, f.Body, got, sent)
				}
				f.Close()
			}
			r.Close()
		})
	}
}

func TestTruncatedFromAWorkerIsItsEnd(t *testing.T) {
	if !inChild(t) {
		return
	}
	master, worker := newPair(t)
	files := newFiles(t, 1)
	r := NewReader(abi.Worker, 100)
	empty := fillTable(t, 0)
	sendRaw(t, worker, frame(abi.KindMessage, 0, "x"), files...)
	err := drain(r, master, func(f Frame) { t.Errorf("got %+v", f) })
	empty()
	if err == nil || err == ErrTruncated {
		t.Errorf("error %v, want an ErrFrame: a worker has no descriptors to send", err)
	}
}
