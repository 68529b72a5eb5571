package ipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

// A script of FuzzReader is pieces to send, each an op byte and then the bytes of the piece:
//
//	 7 6   5      4 3 2 1 0
//	+-----+------+-----------+
//	| fds | read | length    |  fds: index into scriptFDs; read: whether the reader drains the socket before the next
//	+-----+------+-----------+
var scriptFDs = [4]int{0, 1, 3, 100}

func script(pieces ...piece) (s []byte) {
	for _, p := range pieces {
		fds := slices.Index(scriptFDs[:], p.fds)
		if fds < 0 {
			fds = 3
		}
		for len(p.b) > 31 {
			s = append(append(s, byte(fds<<6|31)), p.b[:31]...)
			p.b, fds = p.b[31:], 0
		}
		s = append(append(s, byte(fds<<6|0x20|len(p.b))), p.b...)
	}
	return s
}

func FuzzReader(f *testing.F) {
	f.Add(script(), true)
	for _, h := range hostile {
		f.Add(script(h.pieces...), h.peer == abi.Worker)
	}
	b := newBatch(f)
	for i, start := range b.starts {
		end := len(b.bytes)
		if i+1 < len(b.starts) {
			end = b.starts[i+1]
		}
		f.Add(script(piece{b.bytes[start:end], len(b.fds[i])}), false)
	}
	f.Add(script(piece{b.bytes, 0}), true)
	f.Add(script(piece{b.bytes[:b.starts[1]], 0}, piece{b.bytes[b.starts[1]:b.starts[2]], 1}, piece{b.bytes[b.starts[2]:b.starts[4]], 3}), false)

	const maxMessage = 100
	file := newFiles(f, 1)[0]
	f.Fuzz(func(t *testing.T, script []byte, worker bool) {
		if len(script) > 1000 {
			return // what a reader remembers of the past is less than that
		}
		before := openDescriptors(t)
		peer := abi.Master
		if worker {
			peer = abi.Worker
		}
		there, here, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(peer, maxMessage)
		var got []byte
		frames := 0
		keep := func(f Frame) {
			frames++
			got = append(f.Header.AppendTo(got), f.Body...)
			if len(f.FDs) != int(f.Header.FDs) {
				t.Errorf("%+v came with %d descriptors", f.Header, len(f.FDs))
			}
			f.Close()
		}

		var stream []byte
		anyFDs := false
		unread := 0
		err = nil
		for len(script) > 0 && err == nil {
			op := script[0]
			n := min(int(op&0x1f), len(script)-1)
			body, fds := script[1:1+n], scriptFDs[op>>6]
			script = script[1+n:]
			if n > 0 {
				sendRaw(t, there, body, slices.Repeat([]*FD{file}, fds)...)
				stream = append(stream, body...)
				anyFDs = anyFDs || fds > 0
			}
			unread += 1 + fds
			if op&0x20 != 0 || unread > 100 { // more might not fit into the socket
				err = drain(r, here, keep)
				unread = 0
			}
		}
		there.Close()
		if err == nil {
			err = drain(r, here, keep)
		}
		if err != io.EOF && !errors.Is(err, abi.ErrFrame) {
			t.Errorf("ended with %v", err)
		}
		if most := abi.HeaderSize + abi.MaxControl + readSize; len(r.buf) > most {
			t.Errorf("a buffer of %d bytes", len(r.buf))
		}
		if !bytes.HasPrefix(stream, got) {
			t.Errorf("%q was sent, %q came", stream, got)
		}
		if want, whole := count(stream, peer, maxMessage); !anyFDs && (frames != want || whole != (err == io.EOF)) {
			t.Errorf("%d frames came and %v, want %d and a whole stream: %v", frames, err, want, whole)
		}
		r.Close()
		here.Close()
		if after := openDescriptors(t); after != before {
			t.Errorf("%d descriptors are open, %d were before", after, before)
		}
	})
}

// count is the Reader as simple as can be: how many frames without descriptors a stream begins with, and whether there is
// nothing else.
func count(stream []byte, peer abi.Side, maxMessage uint32) (frames int, whole bool) {
	for len(stream) >= abi.HeaderSize {
		h, err := abi.DecodeHeader(stream, peer, maxMessage)
		if err != nil || h.FDs > 0 || len(stream) < abi.HeaderSize+int(h.Length) {
			return frames, false
		}
		stream = stream[abi.HeaderSize+int(h.Length):]
		frames++
	}
	return frames, len(stream) == 0
}

// bodies has an empty body of every kind that has one in JSON.
var bodies = map[abi.Kind]func() any{
	abi.KindHello:      func() any { return new(abi.Hello) },
	abi.KindConfig:     func() any { return new(abi.Config) },
	abi.KindCompile:    func() any { return new(abi.Compile) },
	abi.KindCompiled:   func() any { return new(abi.Report) },
	abi.KindListen:     func() any { return new(abi.Listen) },
	abi.KindListenDone: func() any { return new(abi.ListenDone) },
	abi.KindListening:  func() any { return new(abi.Listening) },
	abi.KindFault:      func() any { return new(abi.Fault) },
	abi.KindDrained:    func() any { return new(abi.Drained) },
	abi.KindProbed:     func() any { return new(abi.Probed) },
	abi.KindRequest:    func() any { return new(abi.Request) },
	abi.KindResult:     func() any { return new(abi.Result) },
	abi.KindEvent:      func() any { return new(abi.Event) },
}

func FuzzDecodeControl(f *testing.F) {
	for kind, body := range bodies {
		empty, err := json.Marshal(body())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(kind), empty)
		f.Add(byte(kind), []byte("null"))
	}
	f.Add(byte(abi.KindListen), []byte(`{"address":{"network":"tcp","host":"::1","port":80},"backlog":128,"flags":2}`))
	f.Add(byte(abi.KindListening), []byte(`{"address":{"network":"unix","path":"\u0000"},"fd":-1}`))
	f.Add(byte(abi.KindCompiled), []byte(`{"error":"e","imports":[{"module":"m","name":"n"}],"memory":{"minPages":1,"maxPages":null}}`))
	f.Add(byte(abi.KindFault), []byte(`{"text":"\ud800","reason":"trap"}`))
	f.Add(byte(abi.KindDrained), []byte(`{"cut":1e3} `))
	f.Fuzz(func(t *testing.T, kind byte, text []byte) {
		empty := bodies[abi.Kind(kind)]
		if empty == nil {
			return
		}
		v := empty()
		if err := Decode(Frame{Header: abi.Header{Kind: abi.Kind(kind)}, Body: text}, v); err != nil {
			if !errors.Is(err, abi.ErrFrame) || len(err.Error()) > 2*maxQuoted {
				t.Fatalf("error %q", err)
			}
			return
		}
		if fault, ok := v.(*abi.Fault); ok {
			fault.Clip()
		}
		if listen, ok := v.(*abi.Listen); ok {
			_ = listen.Address.Check()
		}
		// What has been understood can be said again and is understood the same.
		w := NewWriter(0)
		seq := uint32(0)
		if h := (abi.Header{Kind: abi.Kind(kind)}); h.Check(abi.Master|abi.Worker, 0) != nil {
			seq = 1
		}
		if err := w.Control(abi.Kind(kind), seq, v); err != nil {
			if errors.Is(err, abi.ErrFrame) && len(text) > abi.MaxSmallControl/8 {
				return // longer in our spelling than in the peer's
			}
			t.Fatal(err)
		}
		again := empty()
		if err := Decode(Frame{Header: abi.Header{Kind: abi.Kind(kind)}, Body: w.buf[abi.HeaderSize:]}, again); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(v, again) {
			t.Fatalf("%+v became %+v", v, again)
		}
	})
}

func TestEveryJSONBodyIsFuzzed(t *testing.T) {
	for k, name := range abi.Kinds {
		h := abi.Header{Kind: k, Length: 1, Seq: 1}
		if h.Check(abi.Master|abi.Worker, 0) != nil {
			h.Seq = 0
		}
		hasJSON := h.Check(abi.Master|abi.Worker, 0) == nil && k != abi.KindPost
		if _, fuzzed := bodies[k]; fuzzed != hasJSON {
			t.Errorf("%s has a JSON body: %v; it is fuzzed: %v", name, hasJSON, fuzzed)
		}
	}
}
