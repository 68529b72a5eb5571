package httpcases

import (
	"fmt"
	"strings"
)

// headMax is the limit of hello-c's parser on request line and fields together.
const headMax = 8192

// An Answer is what the server writes, given its worker number.
type Answer func(worker string) string

// A Case is one conversation: what the client sends on a new connection, and all that comes back.
type Case struct {
	Name    string
	Request string
	Want    []Answer
	Closes  bool // the server ends the connection; otherwise it waits for the client to
	Whole   bool // is sent in one piece only: where it is split makes a difference
}

// get is the shortest ordinary request, and pipelined ones are told apart by their length.
const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// with is an ordinary request with more fields, each of them ended by CRLF.
func with(fields string) string {
	return "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n"
}

// padded is an ordinary request whose head is size bytes long.
func padded(size int) string {
	rest := size - len(with("Pad: \r\n"))
	return with("Pad: " + strings.Repeat("x", rest) + "\r\n")
}

func answer(connection string, head bool) Answer {
	return func(worker string) string {
		body := fmt.Sprintf("hello from worker %s\n", worker)
		top := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nX-Worker: %s\r\n%s\r\n",
			len(body), worker, connection)
		if head {
			return top
		}
		return top + body
	}
}

var (
	hello       = answer("", false)
	helloHead   = answer("", true)
	helloKept   = answer("Connection: keep-alive\r\n", false)
	helloClosed = answer("Connection: close\r\n", false)
	headClosed  = answer("Connection: close\r\n", true)
)

func goOn(string) string { return "HTTP/1.1 100 Continue\r\n\r\n" }

func status(line string) Answer {
	return func(string) string { return "HTTP/1.1 " + line + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" }
}

var (
	badRequest  = status("400 Bad Request")
	uriTooLong  = status("414 URI Too Long")
	expectation = status("417 Expectation Failed")
	tooLarge    = status("431 Request Header Fields Too Large")
	notKnown    = status("501 Not Implemented")
	version     = status("505 HTTP Version Not Supported")
)

func times(n int, a Answer) []Answer {
	all := make([]Answer, n)
	for i := range all {
		all[i] = a
	}
	return all
}

// Cases is every conversation of the table, in the order of a request's parts.
func Cases() []Case {
	var all []Case
	for _, part := range [][]Case{connectionCases, targetCases, fieldCases, lengthCases, chunkedCases, expectCases} {
		all = append(all, part...)
	}
	return append(all, refusals()...)
}

var connectionCases = []Case{
	{Name: "a request is answered and the connection stays", Request: get, Want: []Answer{hello}},
	{Name: "nothing is answered with nothing", Request: ""},
	{Name: "half a request is answered with nothing", Request: "GET / HTTP/1.1\r\nHo"},
	{
		Name: "pipelined requests are answered in order", Request: get + "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get,
		Want: []Answer{hello, helloHead, hello},
	},
	{Name: "whole requests are answered though the last is cut", Request: get + get + "GET /", Want: times(2, hello)},
	{Name: "200 pipelined requests get 200 answers", Request: strings.Repeat(get, 200), Want: times(200, hello)},
	{
		Name: "the shortest requests fill the buffers and all fit", Request: strings.Repeat("G / HTTP/1.1\r\nHost:\r\n\r\n", 800),
		Want: times(800, hello),
	},
	{Name: "HEAD is answered without a body", Request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", Want: []Answer{helloHead}},
	{Name: "a method is any token", Request: "M-SEARCH!~1 / HTTP/1.1\r\nHost: a\r\n\r\n", Want: []Answer{hello}},
	{Name: "a long method is still one", Request: strings.Repeat("M", 40) + " / HTTP/1.1\r\nHost: a\r\n\r\n", Want: []Answer{hello}},
	{Name: "methods are case-sensitive: head is not HEAD", Request: "head / HTTP/1.1\r\nHost: a\r\n\r\n", Want: []Answer{hello}},
	{Name: "empty lines before a request are skipped", Request: "\r\n\r\n" + get + "\r\n" + get, Want: times(2, hello)},
	{Name: "Connection: close is honoured", Request: with("Connection: close\r\n"), Want: []Answer{helloClosed}, Closes: true},
	{
		Name: "Connection: close is honoured for HEAD", Request: "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		Want: []Answer{headClosed}, Closes: true,
	},
	{
		Name: "close is found in a list, in any case", Request: with("connection: , Upgrade,\tClOSE ,x\r\n"),
		Want: []Answer{helloClosed}, Closes: true,
	},
	{
		Name: "close is found before much white space", Request: with("Connection: close" + strings.Repeat(" ", 40) + "\r\n"),
		Want: []Answer{helloClosed}, Closes: true,
	},
	{
		Name: "close wins over keep-alive", Request: with("Connection: keep-alive\r\nConnection: close\r\n"),
		Want: []Answer{helloClosed}, Closes: true,
	},
	{Name: "close now or closed is not close", Request: with("Connection: close now, closed, xclose\r\n"), Want: []Answer{hello}},
	{
		Name: "what follows a last request is not answered", Request: with("Connection: close\r\n") + get,
		Want: []Answer{helloClosed}, Closes: true, Whole: true,
	},
	{Name: "HTTP/1.0 closes, and needs no Host", Request: "GET / HTTP/1.0\r\n\r\n", Want: []Answer{helloClosed}, Closes: true},
	{
		Name: "HTTP/1.0 stays when asked to, and is told so", Request: strings.Repeat("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 2),
		Want: times(2, helloKept),
	},
	{Name: "a later minor version is served as 1.1", Request: "GET / HTTP/1.7\r\nHost: a\r\n\r\n", Want: []Answer{hello}},
}

var targetCases = []Case{
	{Name: "a path with a query is a target", Request: "GET /a/b?c=%20&d HTTP/1.1\r\nHost: a\r\n\r\n", Want: []Answer{hello}},
	{Name: "an absolute URI is a target", Request: "GET http://a.example/b HTTP/1.1\r\nHost: a.example\r\n\r\n", Want: []Answer{hello}},
	{Name: "* is a target of OPTIONS", Request: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Want: []Answer{hello}},
	{
		Name: "a target of 4000 bytes is served", Request: "GET /" + strings.Repeat("t", 4000) + " HTTP/1.1\r\nHost: a\r\n\r\n",
		Want: []Answer{hello},
	},
}

var fieldCases = []Case{
	{
		Name: "white space around a value means nothing", Request: "GET / HTTP/1.1\r\nHost: \t a:80 \t \r\nX:\r\nY: \t\r\n\r\n",
		Want: []Answer{hello},
	},
	{Name: "an empty Host is a Host", Request: "GET / HTTP/1.1\r\nHost:\r\n\r\n", Want: []Answer{hello}},
	{Name: "an address is a Host", Request: "GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", Want: []Answer{hello}},
	{
		Name: "names are case-insensitive", Request: "GET / HTTP/1.1\r\nhOsT: a\r\nCONNECTION: CLOSE\r\n\r\n",
		Want: []Answer{helloClosed}, Closes: true,
	},
	{Name: "every token character may be in a name", Request: with("!#$%&'*+-.^_`|~09azAZ: v\r\n"), Want: []Answer{hello}},
	{
		Name: "names that begin like a known one are others", Request: with("Content-Lengthy: x\r\nHos: b\r\nTransfer-Encodings: y\r\n"),
		Want: []Answer{hello},
	},
	{Name: "values may hold bytes above ASCII", Request: with("X: gr\xfc\xdf\xff\r\n"), Want: []Answer{hello}},
	{Name: "a head of exactly the limit is served", Request: padded(headMax) + padded(headMax), Want: times(2, hello)},
	{Name: "requests of a common browser's size are served", Request: strings.Repeat(padded(700), 30), Want: times(30, hello)},
}

var lengthCases = []Case{
	{
		Name: "a body is skipped, whatever it looks like", Request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n" + get[:27] + get,
		Want: times(2, hello),
	},
	{Name: "an empty body is one", Request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + get, Want: times(2, hello)},
	{
		Name:    "a body larger than any buffer is skipped",
		Request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("b", 100000) + get, Want: times(2, hello),
	},
	{Name: "GET may have a body too", Request: with("Content-Length: 3\r\n") + "abc" + get, Want: times(2, hello)},
	{
		Name: "the same length twice is that length", Request: with("Content-Length: 3\r\nContent-Length: 03\r\n") + "abc" + get,
		Want: times(2, hello),
	},
	{Name: "the same length in a list is that length", Request: with("Content-Length: 3, 3\r\n") + "abc" + get, Want: times(2, hello)},
	{Name: "a body that is cut is answered with nothing", Request: get + with("Content-Length: 3\r\n") + "ab", Want: []Answer{hello}},
}

// chunked is a request whose body is coded as given.
func chunked(body string) string {
	return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

var chunkedCases = []Case{
	{Name: "chunks are skipped", Request: chunked("3\r\nabc\r\n5\r\nde\r\nf\r\n0\r\n\r\n") + get, Want: times(2, hello)},
	{Name: "no chunk but the last is a body too", Request: chunked("0\r\n\r\n") + get, Want: times(2, hello)},
	{
		Name: "sizes are hexadecimal, with leading zeros", Request: chunked("00aF\r\n"+strings.Repeat("x", 0xaf)+"\r\n000\r\n\r\n") + get,
		Want: times(2, hello),
	},
	{Name: "extensions are skipped", Request: chunked("1;a=b;c=\"d e\"\r\nx\r\n1 \t;q\r\ny\r\n0;last\r\n\r\n") + get, Want: times(2, hello)},
	{
		Name:    "trailer fields are skipped and change nothing",
		Request: chunked("1\r\nx\r\n0\r\nContent-Length: 9\r\nConnection: close\r\nHost: b\r\n\r\n") + get, Want: times(2, hello),
	},
	{
		Name: "Chunked may be written in any case", Request: with("transfer-encoding:\tChunKed \r\n") + "1\r\nx\r\n0\r\n\r\n" + get,
		Want: times(2, hello),
	},
	{
		Name: "many chunks do not count as a head", Request: chunked(strings.Repeat("1;extension\r\nx\r\n", 1000)+"0\r\n\r\n") + get,
		Want: times(2, hello),
	},
	{
		Name: "a chunked HTTP/1.1 request may ask to close", Request: with("Connection: close\r\nTransfer-Encoding: chunked\r\n") + "1\r\nx\r\n0\r\n\r\n",
		Want: []Answer{helloClosed}, Closes: true,
	},
}

var expectCases = []Case{
	{
		Name: "100 Continue comes before the body is read", Request: with("Expect: 100-Continue\r\nContent-Length: 2\r\n") + "ab" + get,
		Want: []Answer{goOn, hello, hello},
	},
	{
		Name: "100 Continue comes before chunks", Request: with("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
		Want: []Answer{goOn, hello},
	},
	{Name: "without a body there is nothing to continue", Request: with("Expect: 100-continue\r\n"), Want: []Answer{hello}},
	{
		Name:    "HTTP/1.0 does not know 100 Continue",
		Request: "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab", Want: []Answer{helloClosed}, Closes: true,
	},
	{Name: "an unknown expectation is refused", Request: with("Expect: wonders\r\n"), Want: []Answer{expectation}, Closes: true},
}
