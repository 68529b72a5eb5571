package abi

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Address is where a socket listens, or the far end of a connection.
type Address struct {
	Network string `json:"network"`        // "tcp", "tcp4", "tcp6", "unix", "fd"
	Host    string `json:"host,omitempty"` // an IP address, or "" for all; without brackets
	Port    uint16 `json:"port,omitempty"`
	Path    string `json:"path,omitempty"` // of a unix socket; "@name" is abstract
	Fd      int    `json:"fd,omitempty"`   // of network "fd": a descriptor of the master
}

// MaxSpec bounds the text of an address, and maxUnixPath the path of a unix socket: sun_path of unix(7) holds 108
// bytes, one of them the terminating zero.
const (
	MaxSpec     = 512
	maxUnixPath = 107
)

// ErrAddress is wrapped by every error of ParseAddress.
var ErrAddress = errors.New("bad address")

// ParseAddress reads the text of an address:
//
//	tcp://127.0.0.1:8000   tcp4://0.0.0.0:80   tcp6://[::1]:0   tcp://:8000
//	unix:///run/app.sock   unix://app.sock (relative)   unix://@name (abstract)
//	fd:7 (a descriptor of the master)
//
// Port 0 asks for any free port; a host must be an IP address or empty, because a name may resolve to
// several and a listener has one. The only host name known is "localhost", which stands for 127.0.0.1, or for ::1
// after tcp6. An IPv4 address in IPv6 clothes, ::ffff:127.0.0.1, is the IPv4 address. The text is UTF-8, because it
// travels in JSON. The error says what is wrong and what is possible.
func ParseAddress(spec string) (Address, error) {
	if len(spec) > MaxSpec {
		return Address{}, fmt.Errorf("%w: %d bytes long, at most %d", ErrAddress, len(spec), MaxSpec)
	}
	if !utf8.ValidString(spec) {
		return Address{}, fmt.Errorf("%w %q: not UTF-8", ErrAddress, spec)
	}
	if rest, ok := strings.CutPrefix(spec, "fd:"); ok {
		return parseFD(spec, rest)
	}
	network, rest, ok := strings.Cut(spec, "://")
	if !ok {
		return Address{}, fmt.Errorf("%w %q: no scheme; write tcp://HOST:PORT, unix://PATH or fd:N", ErrAddress, spec)
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
		return parseTCP(network, spec, rest)
	case "unix":
		return parseUnix(spec, rest)
	default:
		return Address{}, fmt.Errorf("%w %q: unknown scheme %q; known are tcp, tcp4, tcp6, unix and fd:N", ErrAddress, spec, network)
	}
}

func parseFD(spec, rest string) (Address, error) {
	n, err := strconv.ParseUint(rest, 10, 31)
	if err != nil || n < 3 {
		return Address{}, fmt.Errorf("%w %q: write fd:N with the number of an open descriptor, 3 or above", ErrAddress, spec)
	}
	return Address{Network: "fd", Fd: int(n)}, nil
}

func parseTCP(network, spec, rest string) (Address, error) {
	host, port, err := splitHostPort(rest)
	if err != nil {
		return Address{}, fmt.Errorf("%w %q: %s", ErrAddress, spec, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case port == "":
		return Address{}, fmt.Errorf("%w %q: no port after the colon; write one, 0 for any that is free", ErrAddress, spec)
	case errors.Is(err, strconv.ErrRange):
		return Address{}, fmt.Errorf("%w %q: port %s is out of range, 0 to 65535", ErrAddress, spec, port)
	case err != nil:
		return Address{}, fmt.Errorf("%w %q: port %q is not a number", ErrAddress, spec, port)
	}
	if host == "localhost" {
		host = "127.0.0.1"
		if network == "tcp6" {
			host = "::1"
		}
	}
	if host == "" {
		return Address{Network: network, Port: uint16(n)}, nil
	}
	ip, err := netip.ParseAddr(host)
	ip = ip.Unmap()
	switch {
	case err != nil:
		return Address{}, fmt.Errorf("%w %q: host %q is not an IP address; write one, or leave it out for all", ErrAddress, spec, host)
	case network == "tcp4" && !ip.Is4():
		return Address{}, fmt.Errorf("%w %q: tcp4 wants an IPv4 address", ErrAddress, spec)
	case network == "tcp6" && !ip.Is6():
		return Address{}, fmt.Errorf("%w %q: tcp6 wants an IPv6 address", ErrAddress, spec)
	}
	return Address{Network: network, Host: ip.String(), Port: uint16(n)}, nil
}

// splitHostPort cuts "host:port" and "[host]:port".
func splitHostPort(s string) (host, port string, err error) {
	if in, ok := strings.CutPrefix(s, "["); ok {
		host, rest, ok := strings.Cut(in, "]")
		if !ok {
			return "", "", errors.New("'[' without ']'")
		}
		port, ok := strings.CutPrefix(rest, ":")
		if !ok {
			return "", "", errors.New("no port; write [HOST]:PORT")
		}
		if !strings.Contains(host, ":") {
			return "", "", errors.New("only an IPv6 address goes in brackets")
		}
		return host, port, nil
	}
	host, port, ok := strings.Cut(s, ":")
	switch {
	case !ok:
		return "", "", errors.New("no port; write HOST:PORT")
	case strings.Contains(port, ":"):
		return "", "", errors.New("an IPv6 address goes in brackets: [HOST]:PORT")
	}
	return host, port, nil
}

func parseUnix(spec, path string) (Address, error) {
	switch {
	case path == "" || path == "@":
		return Address{}, fmt.Errorf("%w %q: no path; write unix:///PATH, or unix://@NAME for an abstract one", ErrAddress, spec)
	case len(path) > maxUnixPath:
		return Address{}, fmt.Errorf("%w: the path of a unix socket is %d bytes long, at most %d: %q", ErrAddress, len(path), maxUnixPath, path)
	case strings.ContainsRune(path, 0):
		return Address{}, fmt.Errorf("%w %q: a zero byte in the path; an abstract socket is written unix://@NAME", ErrAddress, spec)
	}
	return Address{Network: "unix", Path: path}, nil
}

// Check says what is wrong with an address that did not come from ParseAddress, such as one that a worker sent: it must be
// exactly what ParseAddress makes of its text.
func (a Address) Check() error {
	type fields Address // without String
	parsed, err := ParseAddress(a.String())
	if err == nil && parsed != a {
		return fmt.Errorf("%w %+v: it would be written %+v", ErrAddress, fields(a), fields(parsed))
	}
	return err
}

// String is the text that ParseAddress reads.
func (a Address) String() string {
	switch a.Network {
	case "":
		return ""
	case "fd":
		return "fd:" + strconv.Itoa(a.Fd)
	case "unix":
		return "unix://" + a.Path
	}
	host := a.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return a.Network + "://" + host + ":" + strconv.Itoa(int(a.Port))
}
