package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func made(server string, repetition int, cpu float64, rss int64) *sample {
	s := &sample{Server: server, Repetition: repetition, Workers: []memory{{Pid: 2, RSS: rss}, {Pid: 3, RSS: rss}}}
	s.KeepAlive = loadFigures{CPUPerRequest: cpu, Connections: []int{32, 32}}
	return s
}

func someResult() *result {
	r := &result{
		Machine:      machine{CPU: "a CPU", Kernel: "Linux 6", Cores: 2},
		Servers:      []entrant{{Name: "native-c"}, {Name: "wcluster", subject: true}},
		ForkToOnline: series{},
	}
	r.add(made("native-c", 1, 5, 1e6))
	r.add(made("wcluster", 1, 6, 8e6))
	r.add(made("wcluster", 2, 11, 8e6)) // slower, and so was what it ran beside
	r.add(made("native-c", 2, 10, 1e6))
	r.ForkToOnline.put("wcluster", 1, 4)
	return r
}

func TestTheTableHasRatiosOfPairs(t *testing.T) {
	var out strings.Builder
	someResult().print(&out)
	for _, want := range []string{
		"CPU per request, µs                        min    median       max   wcluster ÷ it\n" +
			"  native-c                                5.00      7.50     10.00   1.15 (1.10–1.20)\n" +
			"  wcluster                                6.00      8.50     11.00\n",
		"  wcluster                                8.00      8.00      8.00\n",
		"fork to online, ms                         min    median       max\n" +
			"  wcluster                                4.00      4.00      4.00\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table is\n%s\nwithout\n%s", out.String(), want)
		}
	}
	for _, unwanted := range []string{"NaN", "PSS", " \n", "new connections", "failed"} {
		if strings.Contains(out.String(), unwanted) {
			t.Errorf("the table shows %q, which was not measured:\n%s", unwanted, out.String())
		}
	}
}

func TestErrorsUnderLoadAreFailures(t *testing.T) {
	r := someResult()
	s := made("wcluster", 3, 6, 8e6)
	s.Close = &loadFigures{wrkFigures: wrkFigures{SocketErrors: 7}}
	r.add(s)
	if len(r.Failures) != 1 || !strings.Contains(r.Failures[0], "wcluster, repetition 3, close: 7 socket errors") {
		t.Errorf("failures: %q", r.Failures)
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*result)
		want   string // "": all kept
	}{
		"all limits are kept": {func(*result) {}, ""},
		"a request costs too much": {func(r *result) {
			r.add(made("native-c", 3, 5, 1e6))
			r.add(made("wcluster", 3, 9, 8e6))
			r.add(made("native-c", 4, 5, 1e6))
			r.add(made("wcluster", 4, 9, 8e6))
			r.add(made("native-c", 5, 5, 1e6))
			r.add(made("wcluster", 5, 9, 8e6))
		}, "CPU per request, wcluster ÷ native-c: median 1.80, at most 1.3: broken"},
		"a worker is too large": {func(r *result) {
			for _, s := range r.Samples {
				s.Workers[0].RSS *= 3
			}
		}, "RSS of an idle worker: median 16.00 MB, at most 12 MB: broken"},
		"a fork takes too long": {func(r *result) { r.ForkToOnline.put("wcluster", 1, 15.1) }, "fork to online: median 15.10 ms, at most 15 ms: broken"},
		"the sandbox costs too much CPU": {func(r *result) {
			r.Servers = append(r.Servers, entrant{Name: bare})
			r.add(made(bare, 1, 5, 8e6))
			r.add(made(bare, 2, 10, 8e6))
			r.ForkToOnline.put(bare, 1, 2)
		}, "CPU per request, with the sandbox ÷ without: median 1.15, at most 1.03: broken"},
		"the sandbox makes a start too slow": {func(r *result) {
			r.Servers = append(r.Servers, entrant{Name: bare})
			r.add(made(bare, 1, 6, 8e6))
			r.add(made(bare, 2, 11, 8e6))
			r.ForkToOnline.put("wcluster", 1, 14)
			r.ForkToOnline.put(bare, 1, 2)
		}, "fork to online, with the sandbox − without: median 12.00 ms, at most 10 ms: broken"},
		"nothing was compared":   {func(r *result) { r.Samples = r.Samples[1:3] }, "native-c: median NaN, at most 1.3: not measured"},
		"no fork was measured":   {func(r *result) { r.ForkToOnline = series{} }, "fork to online: median NaN ms, at most 15 ms: not measured"},
		"wcluster has failed it": {func(r *result) { r.Samples = nil }, "RSS of an idle worker: median NaN MB, at most 12 MB: not measured"},
	} {
		t.Run(name, func(t *testing.T) {
			r := someResult()
			c.change(r)
			lines, ok := r.check()
			if got := strings.Join(lines, "\n"); ok != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("ok %v, want %q in\n%s", ok, c.want, got)
			}
		})
	}
}

func TestFiguresAreWrittenAsJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	if err := someResult().write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Samples []struct {
			Server    string `json:"server"`
			KeepAlive struct {
				CPU float64 `json:"cpu_us_per_request"`
			} `json:"keep_alive"`
		} `json:"samples"`
		Forks map[string]map[string]float64 `json:"fork_to_online_ms"`
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Samples) != 4 || read.Samples[1].KeepAlive.CPU != 6 || read.Forks["wcluster"]["1"] != 4 {
		t.Errorf("read back: %+v", read)
	}
	if err := someResult().write(t.TempDir()); err == nil {
		t.Error("a directory can be written to as a file")
	}
}
