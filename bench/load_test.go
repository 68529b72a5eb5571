package main

import (
	"strings"
	"testing"
)

const wrkOutput = `Running 3s test @ http://127.0.0.1:41078/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.05ms    1.67ms  33.11ms   92.69%
    Req/Sec    75.13k     5.30k   83.07k    70.00%
  Latency Distribution
     50%  612.00us
     75%    1.05ms
     90%    2.17ms
     99%    8.44ms
  224203 requests in 3.00s, 25.66MB read
Requests/sec:  74711.97
Transfer/sec:      8.55MB
`

func TestParseWrk(t *testing.T) {
	good := wrkFigures{Requests: 224203, PerSecond: 74711.97, P50: 0.612, P99: 8.44}
	with := func(change func(*wrkFigures)) wrkFigures {
		f := good
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		out  string
		want wrkFigures
	}{
		"all went well": {wrkOutput, good},
		"socket errors of every kind": {
			strings.Replace(wrkOutput, "Requests/sec", "  Socket errors: connect 1, read 20, write 300, timeout 4000\nRequests/sec", 1),
			with(func(f *wrkFigures) { f.SocketErrors, f.Timeouts = 321, 4000 }),
		},
		"other statuses": {
			strings.Replace(wrkOutput, "Requests/sec", "  Non-2xx or 3xx responses: 224203\nRequests/sec", 1),
			with(func(f *wrkFigures) { f.Refused = 224203 }),
		},
		"both": {
			strings.Replace(wrkOutput, "Requests/sec", "  Socket errors: connect 0, read 1, write 0, timeout 0\n  Non-2xx or 3xx responses: 2\nRequests/sec", 1),
			with(func(f *wrkFigures) { f.SocketErrors, f.Refused = 1, 2 }),
		},
		"latencies of seconds and minutes": {
			strings.NewReplacer("612.00us", "1.50s", "8.44ms", "1.10m").Replace(wrkOutput),
			with(func(f *wrkFigures) { f.P50, f.P99 = 1500, 66000 }),
		},
		"a load of a minute": {strings.Replace(wrkOutput, "in 3.00s", "in 1.00m", 1), good},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseWrk(c.out)
			got.P99 = float64(int(got.P99*1000+.5)) / 1000 // 1.10 × 60e3 is not exact
			if err != nil || got != c.want {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestParseWrkRefusesWhatIsNoMeasurement(t *testing.T) {
	for name, c := range map[string]struct{ out, want string }{
		"nothing":            {"", "no number of requests"},
		"no connection":      {"unable to connect to 127.0.0.1:1 Connection refused\n", "no number of requests"},
		"no request":         {strings.Replace(wrkOutput, "224203 requests", "0 requests", 1), "no request was answered"},
		"without --latency":  {strings.NewReplacer("50%  ", "", "99%  ", "").Replace(wrkOutput), "no latencies"},
		"latencies are -nan": {strings.NewReplacer("612.00us", "-nanus", "8.44ms", "-nanus").Replace(wrkOutput), "no latencies"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parseWrk(c.out); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v, want %q", got, err, c.want)
			}
		})
	}
}
