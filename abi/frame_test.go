package abi

import (
	"errors"
	"strings"
	"testing"
)

func TestHeaderRoundTrip(t *testing.T) {
	for k, r := range rules {
		if k == 0 {
			continue
		}
		h := Header{Kind: Kind(k), FDs: r.fds, Length: r.maxBody(DefaultMaxMessage)}
		if r.answered {
			h.Seq = 0xdeadbeef
		}
		for _, from := range []Side{Master, Worker} {
			if r.from&from == 0 {
				continue
			}
			b := h.AppendTo([]byte("before"))
			if len(b) != len("before")+HeaderSize {
				t.Errorf("%v: %d bytes, want %d", h.Kind, len(b)-len("before"), HeaderSize)
			}
			got, err := DecodeHeader(b[len("before"):], from, DefaultMaxMessage)
			if err != nil || got != h {
				t.Errorf("%v from the %v: got %+v, %v, want %+v", h.Kind, from, got, err, h)
			}
		}
	}
}

func TestDecodeHeaderRefuses(t *testing.T) {
	const maxMessage = 1000
	for _, tt := range []struct {
		name string
		h    Header
		from Side
		want string // in the error; "": none
	}{
		{"kind 0 does not exist", Header{Kind: 0}, Worker, "unknown kind 0"},
		{"a kind after the last does not exist", Header{Kind: kindEnd}, Worker, "unknown kind 23"},
		{"the largest kind does not exist", Header{Kind: 255}, Worker, "unknown kind 255"},
		{"a worker does not configure", Header{Kind: KindConfig}, Worker, "config is never sent by the worker"},
		{"a worker does not answer a listen", Header{Kind: KindListenDone, Seq: 1}, Worker, "listen-done is never sent by the worker"},
		{"a master does not go online", Header{Kind: KindOnline}, Master, "online is never sent by the master"},
		{"both sides send messages: the master", Header{Kind: KindMessage}, Master, ""},
		{"both sides send messages: the worker", Header{Kind: KindMessage}, Worker, ""},
		{"no flag is defined", Header{Kind: KindMessage, Flags: 0x80}, Worker, "message with flags 0x80"},
		{"a message of the limit is taken", Header{Kind: KindMessage, Length: maxMessage}, Worker, ""},
		{"a message is bounded by the settings", Header{Kind: KindMessage, Length: maxMessage + 1}, Worker, "message of 1001 bytes, at most 1000"},
		{"a message of 4 GiB is refused", Header{Kind: KindMessage, Length: 1<<32 - 1}, Worker, "message of 4294967295 bytes, at most 1000"},
		{"a control frame may be longer than a message", Header{Kind: KindListen, Length: maxMessage + 1, Seq: 1}, Worker, ""},
		{"a small control frame of the limit is taken", Header{Kind: KindListen, Length: MaxSmallControl, Seq: 1}, Worker, ""},
		{"a small control frame is bounded", Header{Kind: KindListen, Length: MaxSmallControl + 1, Seq: 1}, Worker, "listen of 65537 bytes, at most 65536"},
		{"a large control frame of the limit is taken", Header{Kind: KindFault, Length: MaxControl}, Worker, ""},
		{"a large control frame is bounded", Header{Kind: KindFault, Length: MaxControl + 1}, Worker, "fault of 2097153 bytes, at most 2097152"},
		{"a kind without a body has none", Header{Kind: KindOnline, Length: 1}, Worker, "online of 1 bytes, at most 0"},
		{"a worker's frame carries no descriptor", Header{Kind: KindMessage, FDs: 1}, Worker, "message with 1 descriptors, at most 0"},
		{"an answer carries one socket", Header{Kind: KindListenDone, FDs: 1, Seq: 1}, Master, ""},
		{"an answer does not carry two", Header{Kind: KindListenDone, FDs: 2, Seq: 1}, Master, "listen-done with 2 descriptors, at most 1"},
		{"a configuration carries module, scoreboard and listeners", Header{Kind: KindConfig, FDs: ConfigFDs + MaxPreopens}, Master, ""},
		{"a configuration's listeners are bounded", Header{Kind: KindConfig, FDs: ConfigFDs + MaxPreopens + 1}, Master, "config with 67 descriptors, at most 66"},
		{"a request carries a seq", Header{Kind: KindListen}, Worker, "listen without a seq"},
		{"an answer carries a seq", Header{Kind: KindPong}, Worker, "pong without a seq"},
		{"nothing else carries a seq", Header{Kind: KindMessage, Seq: 7}, Worker, "message with seq 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeHeader(tt.h.AppendTo(nil), tt.from, maxMessage)
			if got != tt.h {
				t.Errorf("decoded %+v, want %+v", got, tt.h)
			}
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want an ErrFrame with %q", err, tt.want)
			}
		})
	}
}

func TestDecodeHeaderDoesNotAllocate(t *testing.T) {
	b := Header{Kind: KindMessage, Length: 100}.AppendTo(nil)
	if n := testing.AllocsPerRun(100, func() { _, _ = DecodeHeader(b, Worker, DefaultMaxMessage) }); n != 0 {
		t.Errorf("%v allocations a header", n)
	}
}

func FuzzDecodeHeader(f *testing.F) {
	for k, r := range rules {
		f.Add(Header{Kind: Kind(k), FDs: r.fds, Length: r.maxBody(DefaultMaxMessage), Seq: uint32(k)}.AppendTo(nil), true)
	}
	f.Add([]byte("GET / HTTP/1.1\r\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, worker bool) {
		if len(b) < HeaderSize {
			return // the caller's part
		}
		from := Master
		if worker {
			from = Worker
		}
		h, err := DecodeHeader(b, from, DefaultMaxMessage)
		if back := h.AppendTo(nil); string(back) != string(b[:HeaderSize]) {
			t.Fatalf("%x became %+v, which is %x", b[:HeaderSize], h, back)
		}
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatalf("%v is not an ErrFrame", err)
			}
			return
		}
		if h.Length > MaxControl || int(h.FDs) > MaxFrameFDs(from) || h.Kind.rule() == nil {
			t.Fatalf("passed: %+v", h)
		}
	})
}

func BenchmarkDecodeHeader(b *testing.B) {
	head := Header{Kind: KindMessage, Length: 100}.AppendTo(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeHeader(head, Worker, DefaultMaxMessage); err != nil {
			b.Fatal(err)
		}
	}
}
