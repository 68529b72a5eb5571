package abi

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

var goodAddresses = []struct {
	name, spec string
	want       Address
	text       string // of String, where it is not spec
}{
	{"an IPv4 address and a port", "tcp://127.0.0.1:8000", Address{Network: "tcp", Host: "127.0.0.1", Port: 8000}, ""},
	{"all addresses", "tcp://:8000", Address{Network: "tcp", Port: 8000}, ""},
	{"all of IPv4", "tcp4://0.0.0.0:80", Address{Network: "tcp4", Host: "0.0.0.0", Port: 80}, ""},
	{"all of IPv6", "tcp6://[::]:80", Address{Network: "tcp6", Host: "::", Port: 80}, ""},
	{"an IPv6 address", "tcp://[::1]:8000", Address{Network: "tcp", Host: "::1", Port: 8000}, ""},
	{"an IPv6 address is written its shortest way", "tcp://[0:0:0::0001]:1", Address{Network: "tcp", Host: "::1", Port: 1}, "tcp://[::1]:1"},
	{"an IPv6 address with a zone", "tcp6://[fe80::1%eth0]:1", Address{Network: "tcp6", Host: "fe80::1%eth0", Port: 1}, ""},
	{"an IPv4 address in IPv6 clothes is IPv4", "tcp://[::ffff:127.0.0.1]:1", Address{Network: "tcp", Host: "127.0.0.1", Port: 1}, "tcp://127.0.0.1:1"},
	{"any free port", "tcp6://[::1]:0", Address{Network: "tcp6", Host: "::1"}, ""},
	{"the last port", "tcp://:65535", Address{Network: "tcp", Port: 65535}, ""},
	{"a port with zeros in front", "tcp://:0080", Address{Network: "tcp", Port: 80}, "tcp://:80"},
	{"localhost is 127.0.0.1", "tcp://localhost:80", Address{Network: "tcp", Host: "127.0.0.1", Port: 80}, "tcp://127.0.0.1:80"},
	{"localhost of tcp4 is 127.0.0.1", "tcp4://localhost:80", Address{Network: "tcp4", Host: "127.0.0.1", Port: 80}, "tcp4://127.0.0.1:80"},
	{"localhost of tcp6 is ::1", "tcp6://localhost:80", Address{Network: "tcp6", Host: "::1", Port: 80}, "tcp6://[::1]:80"},
	{"an absolute path", "unix:///run/app.sock", Address{Network: "unix", Path: "/run/app.sock"}, ""},
	{"a relative path", "unix://app.sock", Address{Network: "unix", Path: "app.sock"}, ""},
	{"an abstract name", "unix://@name", Address{Network: "unix", Path: "@name"}, ""},
	{"a path with a colon and brackets", "unix:///a:[b]", Address{Network: "unix", Path: "/a:[b]"}, ""},
	{"the longest path", "unix://" + strings.Repeat("p", 107), Address{Network: "unix", Path: strings.Repeat("p", 107)}, ""},
	{"a descriptor of the master", "fd:7", Address{Network: "fd", Fd: 7}, ""},
	{"the first descriptor after stdio", "fd:3", Address{Network: "fd", Fd: 3}, ""},
	{"a descriptor with zeros in front", "fd:007", Address{Network: "fd", Fd: 7}, "fd:7"},
}

func TestParseAddress(t *testing.T) {
	for _, tt := range goodAddresses {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseAddress(tt.spec)
			if err != nil || got != tt.want {
				t.Fatalf("%s is %#v, %v, want %#v", tt.spec, got, err, tt.want)
			}
			want := tt.text
			if want == "" {
				want = tt.spec
			}
			if got.String() != want {
				t.Errorf("%s is written %s, want %s", tt.spec, got, want)
			}
			if again, err := ParseAddress(got.String()); again != got || err != nil {
				t.Errorf("%s is read back as %#v, %v, want %#v", got, again, err, got)
			}
			if err := got.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every error says what is wrong, and where it is not plain, what to write.
func TestParseAddressRefuses(t *testing.T) {
	for _, tt := range []struct{ name, spec, want string }{
		{"nothing", "", `bad address "": no scheme; write tcp://HOST:PORT, unix://PATH or fd:N`},
		{"a host and a port alone", "127.0.0.1:80", `bad address "127.0.0.1:80": no scheme; write tcp://HOST:PORT, unix://PATH or fd:N`},
		{"an unknown scheme", "http://x:80", `unknown scheme "http"; known are tcp, tcp4, tcp6, unix and fd:N`},
		{"a scheme in capitals", "TCP://:80", `unknown scheme "TCP"`},
		{"a text without end", "tcp://" + strings.Repeat("x", 507), `bad address: 513 bytes long, at most 512`},
		{"what is not UTF-8", "unix://\xff", `bad address "unix://\xff": not UTF-8`},

		{"no port", "tcp://127.0.0.1", `no port; write HOST:PORT`},
		{"a colon and no port", "tcp://127.0.0.1:", `no port after the colon; write one, 0 for any that is free`},
		{"no port after brackets", "tcp://[::1]", `no port; write [HOST]:PORT`},
		{"something between bracket and port", "tcp://[::1]x:80", `no port; write [HOST]:PORT`},
		{"a port that is a name", "tcp://:http", `port "http" is not a number`},
		{"a port with a sign", "tcp://:+80", `port "+80" is not a number`},
		{"a port with a space", "tcp://: 80", `port " 80" is not a number`},
		{"port 65536", "tcp://:65536", `port 65536 is out of range, 0 to 65535`},
		{"port 99999", "tcp://127.0.0.1:99999", `bad address "tcp://127.0.0.1:99999": port 99999 is out of range, 0 to 65535`},
		{"a port beyond any number", "tcp://:99999999999999999999", `port 99999999999999999999 is out of range, 0 to 65535`},

		{"a host name", "tcp://example.com:80", `host "example.com" is not an IP address; write one, or leave it out for all`},
		{"a star for all", "tcp://*:80", `host "*" is not an IP address; write one, or leave it out for all`},
		{"half an IPv4 address", "tcp://127.1:80", `host "127.1" is not an IP address`},
		{"an IPv6 address without brackets", "tcp://::1:80", `an IPv6 address goes in brackets: [HOST]:PORT`},
		{"a bracket that stays open", "tcp://[::1:80", `'[' without ']'`},
		{"an IPv4 address in brackets", "tcp://[127.0.0.1]:80", `only an IPv6 address goes in brackets`},
		{"nothing in brackets", "tcp://[]:80", `only an IPv6 address goes in brackets`},
		{"an IPv6 address after tcp4", "tcp4://[::1]:80", `tcp4 wants an IPv4 address`},
		{"an IPv4 address after tcp6", "tcp6://127.0.0.1:80", `tcp6 wants an IPv6 address`},
		{"an IPv4 address in IPv6 clothes after tcp6", "tcp6://[::ffff:127.0.0.1]:80", `tcp6 wants an IPv6 address`},

		{"no path", "unix://", `no path; write unix:///PATH, or unix://@NAME for an abstract one`},
		{"an abstract socket without a name", "unix://@", `no path`},
		{"a path that sockaddr_un cannot hold", "unix://" + strings.Repeat("p", 108), `the path of a unix socket is 108 bytes long, at most 107: "ppp`},
		{"a zero byte in a path", "unix://a\x00b", `a zero byte in the path; an abstract socket is written unix://@NAME`},

		{"no descriptor", "fd:", `write fd:N with the number of an open descriptor, 3 or above`},
		{"a standard stream", "fd:2", `write fd:N with the number of an open descriptor, 3 or above`},
		{"a negative descriptor", "fd:-1", `write fd:N`},
		{"a descriptor that is a name", "fd:seven", `write fd:N`},
		{"a descriptor beyond int32", "fd:2147483648", `write fd:N`},
		{"a descriptor written as a URL", "fd://7", `write fd:N`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseAddress(tt.spec)
			if err == nil {
				t.Fatalf("%q is %#v", tt.spec, got)
			}
			if !errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want an ErrAddress with %q", err, tt.want)
			}
			if got != (Address{}) {
				t.Errorf("an error, and %#v", got)
			}
		})
	}
}

func TestAddressCheckRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    Address
		want string
	}{
		{"no address at all", Address{}, "no scheme"},
		{"an unknown network", Address{Network: "udp", Port: 53}, "unknown scheme"},
		{"a host that hides a port", Address{Network: "tcp", Host: "1.2.3.4:80", Port: 90}, "not an IP address"},
		{"a host with its brackets", Address{Network: "tcp", Host: "[::1]", Port: 80}, "no port"},
		{"a host in its longer spelling", Address{Network: "tcp", Host: "0:0::1", Port: 80}, "it would be written"},
		{"a name instead of an address", Address{Network: "tcp", Host: "localhost", Port: 80}, "it would be written"},
		{"a path beside a port", Address{Network: "tcp", Port: 80, Path: "/etc/passwd"}, "it would be written"},
		{"a descriptor beside a path", Address{Network: "unix", Path: "/a", Fd: 5}, "it would be written"},
		{"a negative descriptor", Address{Network: "fd", Fd: -1}, "write fd:N"},
		{"a scheme inside the network", Address{Network: "unix:///a?", Port: 1}, "it would be written"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.a.Check(); !errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want an ErrAddress with %q", err, tt.want)
			}
		})
	}
}

func TestAddressOfNothingIsEmpty(t *testing.T) {
	if s := (Address{}).String(); s != "" {
		t.Errorf("got %q", s)
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, tt := range goodAddresses {
		f.Add(tt.spec)
	}
	for _, spec := range []string{"", "tcp://[::ffff:1.2.3.4%x]:1", "tcp6://[fe80::%]:1", "tcp6://[::%%25]:1", "unix://\u2028<&>", "fd:0x7"} {
		f.Add(spec)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		a, err := ParseAddress(spec)
		if err != nil {
			if !errors.Is(err, ErrAddress) || a != (Address{}) {
				t.Fatalf("%q: %#v, %v", spec, a, err)
			}
			return
		}
		again, err := ParseAddress(a.String())
		if err != nil || again != a {
			t.Fatalf("%q is %#v, written %q, which is %#v, %v", spec, a, a, again, err)
		}
		if err := a.Check(); err != nil {
			t.Fatal(err)
		}
		// And it survives the way through a frame.
		body, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var sent Address
		if err := json.Unmarshal(body, &sent); err != nil || sent != a {
			t.Fatalf("%#v travels as %s and arrives as %#v, %v", a, body, sent, err)
		}
	})
}
