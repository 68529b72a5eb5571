package httpcases

import (
	"fmt"
	"strings"
)

// A refusal is a request that is answered with an error, after which the server closes.
type refusal struct {
	name, request string
	want          Answer
}

// refusals tries each twice: as the first request of a connection, and behind one that is answered.
func refusals() []Case {
	var all []Case
	for _, r := range append(refused, controlBytes()...) {
		all = append(all,
			Case{Name: r.name, Request: r.request, Want: []Answer{r.want}, Closes: true},
			Case{Name: r.name + ", behind a good one", Request: get + r.request, Want: []Answer{hello, r.want}, Closes: true},
		)
	}
	return all
}

var refused = []refusal{
	{"a request line of one word is malformed", "GET\r\n\r\n", badRequest},
	{"HTTP/0.9 is malformed", "GET /\r\n\r\n", badRequest},
	{"two spaces in the request line are malformed", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", badRequest},
	{"a tab in the request line is malformed", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", badRequest},
	{"a space behind the version is malformed", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", badRequest},
	{"a space before the method is malformed", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", badRequest},
	{"a fourth word is malformed", "GET / x HTTP/1.1\r\nHost: a\r\n\r\n", badRequest},
	{"a method that is no token is malformed", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", badRequest},
	{"a TLS greeting is malformed", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", badRequest},
	{"a relative target is malformed", "GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", badRequest},
	{"a scheme without a name is malformed", "GET ://a HTTP/1.1\r\nHost: a\r\n\r\n", badRequest},
	{"* is no target of GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", badRequest},
	{"a byte above ASCII in the target is malformed", "GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n", badRequest},
	{"a lower-case protocol is malformed", "GET / http/1.1\r\nHost: a\r\n\r\n", badRequest},
	{"another protocol is malformed", "GET / ICAP/1.1\r\nHost: a\r\n\r\n", badRequest},
	{"a version without a minor one is malformed", "GET / HTTP/1\r\nHost: a\r\n\r\n", badRequest},
	{"a version of two digits is malformed", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", badRequest},
	{"a version that is no number is malformed", "GET / HTTP/1.x\r\nHost: a\r\n\r\n", badRequest},
	{"HTTP/2's preface is malformed: * is for OPTIONS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", badRequest},
	{"HTTP/2.0 is an unknown version", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", version},
	{"HTTP/0.9 by name is an unknown version", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", version},

	{"a bare LF ends no request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", badRequest},
	{"a bare LF ends no field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", badRequest},
	{"a bare LF ends no head", "GET / HTTP/1.1\r\nHost: a\r\n\n", badRequest},
	{"a bare LF before a request is malformed", "\n" + get, badRequest},
	{"a bare CR in the request line is malformed", "GET / HTTP/1.1\rHost: a\r\n\r\n", badRequest},
	{"a bare CR in a value is malformed", with("X: a\rb\r\n"), badRequest},
	{"a CR twice is malformed", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", badRequest},

	{"a space before the colon is malformed", with("X : y\r\n"), badRequest},
	{"a name with a space is malformed", with("X Y: z\r\n"), badRequest},
	{"an empty name is malformed", with(": y\r\n"), badRequest},
	{"a line without a colon is malformed", with("nothing\r\n"), badRequest},
	{"a name that is no token is malformed", with("X[]: y\r\n"), badRequest},
	{"a name above ASCII is malformed", with("Gr\xf6\xdfe: y\r\n"), badRequest},
	{"a folded line is malformed", with("X: y\r\n z\r\n"), badRequest},
	{"a line folded by a tab is malformed", with("X: y\r\n\tz\r\n"), badRequest},
	{"white space before the first field is malformed", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", badRequest},

	{"HTTP/1.1 without Host is malformed", "GET / HTTP/1.1\r\n\r\n", badRequest},
	{"two Hosts are malformed", with("Host: a\r\n"), badRequest},
	{"two Hosts are malformed in HTTP/1.0 too", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", badRequest},
	{"a Host of two words is malformed", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", badRequest},
	{"a Host with a path is malformed", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", badRequest},
	{"a Host with a user is malformed", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", badRequest},

	{"an empty length is malformed", with("Content-Length:\r\n"), badRequest},
	{"a negative length is malformed", with("Content-Length: -1\r\n"), badRequest},
	{"a signed length is malformed", with("Content-Length: +1\r\n"), badRequest},
	{"a hexadecimal length is malformed", with("Content-Length: 0x1\r\n"), badRequest},
	{"a length of two words is malformed", with("Content-Length: 1 1\r\n"), badRequest},
	{"a length with a comma behind is malformed", with("Content-Length: 1,\r\n"), badRequest},
	{"a length past 64 bits is malformed", with("Content-Length: 18446744073709551616\r\n"), badRequest},
	{"a length far past 64 bits is malformed", with("Content-Length: 1" + strings.Repeat("0", 40) + "\r\n"), badRequest},
	{"two different lengths are malformed", with("Content-Length: 1\r\nContent-Length: 2\r\n"), badRequest},
	{"two different lengths in a list are malformed", with("Content-Length: 1, 2\r\n"), badRequest},

	{"a length and chunks are malformed", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), badRequest},
	{"chunks and a length are malformed", with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), badRequest},
	{"a length and an unknown coding are malformed", with("Content-Length: 5\r\nTransfer-Encoding: gzip\r\n"), badRequest},
	{"chunks in HTTP/1.0 are malformed", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", badRequest},
	{"chunked twice is malformed", with("Transfer-Encoding: chunked, chunked\r\n"), badRequest},
	{"chunked twice is malformed in two lines too", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), badRequest},
	{"chunked before the last is malformed", with("Transfer-Encoding: chunked, gzip\r\n"), badRequest},
	{"an empty list of codings is malformed", with("Transfer-Encoding: ,\r\n"), badRequest},
	{"an unknown coding is not known", with("Transfer-Encoding: gzip\r\n"), notKnown},
	{"an unknown coding before chunked is not known", with("Transfer-Encoding: gzip, chunked\r\n"), notKnown},
	{"a coding that only looks like chunked is not known", with("Transfer-Encoding: xchunked\r\n"), notKnown},
	{"chunked with a parameter is not known", with("Transfer-Encoding: chunked;x=y\r\n"), notKnown},
	{"CONNECT is not known", "CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n", notKnown},

	{"an empty chunk size is malformed", chunked("\r\n"), badRequest},
	{"a chunk size that is no number is malformed", chunked("xyz\r\n"), badRequest},
	{"a chunk size with 0x is malformed", chunked("0x1\r\na\r\n"), badRequest},
	{"a negative chunk size is malformed", chunked("-1\r\n"), badRequest},
	{"a chunk size past 64 bits is malformed", chunked("10000000000000000\r\n"), badRequest},
	{"a chunk size that wraps round is malformed", chunked("100000000000000005\r\nabcde\r\n"), badRequest},
	{"a space behind a chunk size is malformed", chunked("1 \r\na\r\n"), badRequest},
	{"a space before a chunk size is malformed", chunked(" 1\r\na\r\n"), badRequest},
	{"a bare LF behind a chunk size is malformed", chunked("1\na\r\n"), badRequest},
	{"a chunk longer than its size is malformed", chunked("1\r\nab\r\n"), badRequest},
	{"a bare LF behind a chunk is malformed", chunked("1\r\na\n"), badRequest},
	{"a chunk line without an end is malformed", chunked("1;" + strings.Repeat("e", 300)), badRequest},
	{"a control byte in an extension is malformed", chunked("1;a\x01\r\n"), badRequest},
	{"a malformed trailer is malformed", chunked("0\r\nX : y\r\n\r\n"), badRequest},
	{"a folded trailer is malformed", chunked("0\r\nX: y\r\n z\r\n\r\n"), badRequest},

	{"a head one byte past the limit is too large", padded(headMax + 1), tooLarge},
	{"many fields past the limit are too large", with(strings.Repeat("X: y\r\n", 2000)), tooLarge},
	{"a long field name is too large", with(strings.Repeat("n", headMax)), tooLarge},
	{"a trailer past the limit is too large", chunked("0\r\nX: " + strings.Repeat("t", headMax)), tooLarge},
	{"empty lines past the limit are too large", strings.Repeat("\r\n", headMax), tooLarge},
	{"a target past the limit is too long", "GET /" + strings.Repeat("t", headMax), uriTooLong},
}

// controlBytes puts each control byte, NUL first, wherever text may be.
func controlBytes() []refusal {
	var all []refusal
	for _, c := range []byte{0x00, 0x01, 0x08, 0x0b, 0x0c, 0x1b, 0x1f, 0x7f} {
		for _, place := range []struct{ name, request string }{
			{"the method", "G%cT / HTTP/1.1\r\nHost: a\r\n\r\n"},
			{"the target", "GET /%c HTTP/1.1\r\nHost: a\r\n\r\n"},
			{"the version", "GET / HTTP/1%c1\r\nHost: a\r\n\r\n"},
			{"a name", "GET / HTTP/1.1\r\nHost: a\r\nX%c: y\r\n\r\n"},
			{"a value", "GET / HTTP/1.1\r\nHost: a\r\nX: y%cz\r\n\r\n"},
			{"Host", "GET / HTTP/1.1\r\nHost: a%c\r\n\r\n"},
			{"a length", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1%c\r\n\r\nx"},
		} {
			all = append(all, refusal{
				fmt.Sprintf("the control byte %#02x in %s is malformed", c, place.name),
				fmt.Sprintf(place.request, c), badRequest,
			})
		}
	}
	return all
}
