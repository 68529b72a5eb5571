package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		values []float64
		want   spread
	}{
		"one value":                  {[]float64{3}, spread{3, 3, 3, 1}},
		"an odd number, in disorder": {[]float64{9, 1, 5}, spread{1, 5, 9, 3}},
		"an even number":             {[]float64{4, 1, 2, 9}, spread{1, 3, 9, 4}},
		"unknown ones are left out":  {[]float64{nan, 2, nan}, spread{2, 2, 2, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			given := slices.Clone(c.values)
			if got := spreadOf(c.values); got != c.want {
				t.Errorf("%v: %+v, want %+v", c.values, got, c.want)
			}
			for i := range given {
				if given[i] != c.values[i] && !math.IsNaN(given[i]) {
					t.Fatalf("the values were sorted in place: %v, was %v", c.values, given)
				}
			}
		})
	}
	if got := spreadOf([]float64{nan}); got.N != 0 || !math.IsNaN(got.Median) {
		t.Errorf("nothing known: %+v", got)
	}
}

func TestRatiosAreOfTheSameRepetition(t *testing.T) {
	ours := map[int]float64{1: 6, 2: 60, 3: 9, 4: 5, 5: math.NaN()}
	theirs := map[int]float64{1: 5, 2: 50, 4: 0, 5: 1, 6: 1}
	if got := spreadOf(ratios(ours, theirs)); got != (spread{1.2, 1.2, 1.2, 2}) {
		t.Errorf("two pairs of 1.2, four that are none: %+v", got)
	}
}

func TestBusiestWorker(t *testing.T) {
	for _, c := range []struct {
		connections []int
		want        float64
	}{{[]int{32, 32}, 1}, {[]int{64, 0}, 2}, {[]int{24, 8, 16, 16}, 1.5}, {[]int{64}, math.NaN()}, {[]int{0, 0}, math.NaN()}, {nil, math.NaN()}} {
		if got := busiest(c.connections); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%v: %v, want %v", c.connections, got, c.want)
		}
	}
}

func TestForeignShare(t *testing.T) {
	for _, c := range []struct {
		busy, ours time.Duration
		want       float64
	}{{4 * time.Second, 3 * time.Second, .25}, {time.Second, time.Second, 0}, {time.Second, 2 * time.Second, 0}, {0, 0, 0}} {
		if got := foreign(c.busy, c.ours); got != c.want {
			t.Errorf("busy %v, ours %v: %v, want %v", c.busy, c.ours, got, c.want)
		}
	}
}
