package wasip1

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

// fromHex takes bytes written in groups, in which dots stand for padding: a byte that must be zero.
func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	s = strings.NewReplacer(" ", "", "\n", "", "\t", "", "..", "00").Replace(s)
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dirty is a buffer in which padding that is not written shows.
func dirty(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xaa
	}
	return b
}

func TestRecordsEncode(t *testing.T) {
	for _, tt := range []struct {
		name   string
		size   int
		encode func(b []byte)
		want   string
	}{
		{"an event", 32, func(b []byte) {
			(&Event{Userdata: 0x0807060504030201, Errno: abi.EBADF, Type: eventFdWrite, Nbytes: 0x1817161514131211, Flags: eventHangup}).encode(b)
		}, `0102030405060708 0800 02 .......... 1112131415161718 0100 ............`},
		{"an fdstat", 24, func(b []byte) {
			(&Fdstat{Filetype: filetypeSocketStream, Flags: fdflagNonblock | fdflagAppend, Rights: 0x0807060504030201, Inheriting: 0x1817161514131211}).encode(b)
		}, `06 .. 0500 ........ 0102030405060708 1112131415161718`},
		{"a filestat", 64, func(b []byte) {
			(&Filestat{Dev: 1, Ino: 0x0807060504030201, Filetype: filetypeRegular, Nlink: 2, Size: 3, Atim: 4, Mtim: 5, Ctim: 6}).encode(b)
		}, `0100000000000000 0102030405060708 04 .............. 0200000000000000
			0300000000000000 0400000000000000 0500000000000000 0600000000000000`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := dirty(tt.size + 1)
			tt.encode(b)
			if got, want := b[:tt.size], fromHex(t, tt.want); string(got) != string(want) {
				t.Errorf("got\n%x, want\n%x", got, want)
			}
			if b[tt.size] != 0xaa {
				t.Errorf("it is longer than %d bytes", tt.size)
			}
		})
	}
}

func TestSubscriptionDecodes(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   string
		want Subscription
	}{
		{
			"an absolute time of day", `0102030405060708 00 aaaaaaaaaaaaaa 00000000 aaaaaaaa 1112131415161718 ffffffffffffffff 0100 aaaaaaaaaaaa`,
			Subscription{Userdata: 0x0807060504030201, Tag: eventClock, Clock: clockRealtime, Timeout: 0x1817161514131211, Flags: subclockAbsolute},
		},
		{
			"a relative time", `0100000000000000 00 aaaaaaaaaaaaaa 01000000 aaaaaaaa 0200000000000000 0000000000000000 0000 aaaaaaaaaaaa`,
			Subscription{Userdata: 1, Tag: eventClock, Clock: clockMonotonic, Fd: 1, Timeout: 2},
		},
		{
			"a descriptor for reading", `0100000000000000 01 aaaaaaaaaaaaaa 78563412 00000000 0000000000000000 0000000000000000 0000 000000000000`,
			Subscription{Userdata: 1, Tag: eventFdRead, Fd: 0x12345678, Clock: 0x12345678},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := fromHex(t, tt.in)
			if len(b) != subscriptionSize {
				t.Fatalf("%d bytes", len(b))
			}
			var sub Subscription
			sub.decode(b)
			if sub != tt.want {
				t.Errorf("got %+v, want %+v", sub, tt.want)
			}
		})
	}
}

func TestPrestatOfASocketIsNoDirectory(t *testing.T) {
	g := newGuest(t, Config{})
	raw, _ := listenTCP(t)
	fd, errno := g.sys.OpenListener(raw, true, nil)
	ok(t, errno)
	copy(g.mem, dirty(prestatSize+1))
	g.want(0, "fd_prestat_get", uint64(fd), 0)
	if got, want := g.mem[:prestatSize], fromHex(t, `01 ...... 00000000`); string(got) != string(want) {
		t.Errorf("prestat is %x, want %x", got, want)
	}
	if g.mem[prestatSize] != 0xaa {
		t.Error("prestat is longer than 8 bytes")
	}
}
