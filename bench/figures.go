package main

import (
	"math"
	"slices"
)

// figure is one thing that is measured of every server.
type figure struct {
	name     string
	decimals int
	ratio    bool // ours to another server's says something
	// value of a sample; NaN when it is not known.
	value func(*sample) float64
}

const (
	megabyte = 1e6
	percent  = 100
)

// figures in the order in which they are shown.
var figures = []figure{
	{name: "CPU per request, µs", decimals: 2, ratio: true, value: func(s *sample) float64 { return s.KeepAlive.CPUPerRequest }},
	{name: "requests per second", ratio: true, value: func(s *sample) float64 { return s.KeepAlive.PerSecond }},
	{name: "latency p50, ms", decimals: 2, ratio: true, value: func(s *sample) float64 { return s.KeepAlive.P50 }},
	{name: "latency p99, ms", decimals: 2, ratio: true, value: func(s *sample) float64 { return s.KeepAlive.P99 }},
	{name: "start to first answer, ms", decimals: 1, ratio: true, value: func(s *sample) float64 { return s.FirstAnswer }},
	{name: "RSS of an idle worker, MB", decimals: 2, ratio: true, value: func(s *sample) float64 { return perWorker(s.Workers, memoryRSS) }},
	{name: "PSS of an idle worker, MB", decimals: 2, ratio: true, value: func(s *sample) float64 { return perWorker(s.Workers, memoryPSS) }},
	{name: "RSS of a worker after the load, MB", decimals: 2, ratio: true, value: func(s *sample) float64 { return perWorker(s.Loaded, memoryRSS) }},
	{name: "RSS of the idle parent, MB", decimals: 2, ratio: true, value: parentRSS},
	{name: "CPU at rest, % of a core", decimals: 3, value: func(s *sample) float64 { return s.IdleCPU * percent }},
	{name: "busiest worker's connections ÷ mean", decimals: 2, value: func(s *sample) float64 { return busiest(s.KeepAlive.Connections) }},
	{name: "CPU used by others, %", decimals: 1, value: func(s *sample) float64 { return s.KeepAlive.Foreign * percent }},
	{name: "new connections per second", ratio: true, value: closing(func(f *loadFigures) float64 { return f.PerSecond })},
	{name: "CPU per new connection, µs", decimals: 2, ratio: true, value: closing(func(f *loadFigures) float64 { return f.CPUPerRequest })},
	{name: "p99 of a new connection, ms", decimals: 2, ratio: true, value: closing(func(f *loadFigures) float64 { return f.P99 })},
}

// forkToOnlineFigure is measured apart from the samples.
var forkToOnlineFigure = figure{name: "fork to online, ms", decimals: 2, ratio: true}

// cpuPerRequest and workerRSS are the figures that have limits.
var (
	cpuPerRequest = figures[0]
	perSecond     = figures[1]
	workerRSS     = figures[5]
)

// closing is a figure of the load with a connection for each request, which is not always made.
func closing(value func(*loadFigures) float64) func(*sample) float64 {
	return func(s *sample) float64 {
		if s.Close == nil {
			return math.NaN()
		}
		return value(s.Close)
	}
}

func memoryRSS(m memory) int64 { return m.RSS }
func memoryPSS(m memory) int64 { return m.PSS }

// perWorker is the mean of the workers, in megabytes.
func perWorker(workers []memory, of func(memory) int64) float64 {
	var sum int64
	for _, m := range workers {
		if of(m) == 0 {
			return math.NaN()
		}
		sum += of(m)
	}
	return float64(sum) / float64(len(workers)) / megabyte
}

func parentRSS(s *sample) float64 {
	if s.Parent == nil {
		return math.NaN()
	}
	return float64(s.Parent.RSS) / megabyte
}

// busiest is 1 when all workers have as many connections, and their number when one has them all.
func busiest(connections []int) float64 {
	var sum int
	for _, n := range connections {
		sum += n
	}
	if len(connections) < 2 || sum == 0 {
		return math.NaN()
	}
	return float64(slices.Max(connections)*len(connections)) / float64(sum)
}

// series are the values of one figure: of each server by repetition.
type series map[string]map[int]float64

func (f figure) of(samples []*sample) series {
	s := series{}
	for _, x := range samples {
		if v := f.value(x); !math.IsNaN(v) {
			s.put(x.Server, x.Repetition, v)
		}
	}
	return s
}

func (s series) put(server string, repetition int, v float64) {
	if s[server] == nil {
		s[server] = map[int]float64{}
	}
	s[server][repetition] = v
}

// spread of a server's values.
func (s series) spread(server string) spread {
	var all []float64
	for _, v := range s[server] {
		all = append(all, v)
	}
	return spreadOf(all)
}

// difference of ours and theirs, pair by pair.
func (s series) difference(ours, theirs string) spread {
	var all []float64
	for n, a := range s[ours] {
		if b, ok := s[theirs][n]; ok {
			all = append(all, a-b)
		}
	}
	return spreadOf(all)
}

// ratio of ours to theirs, pair by pair.
func (s series) ratio(ours, theirs string) spread {
	return spreadOf(ratios(s[ours], s[theirs]))
}
