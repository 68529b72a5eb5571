package main

import (
	"math"
	"slices"
)

// spread is what several measurements of one thing showed.
type spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

// spreadOf leaves out what is not known, which is NaN. Of no values all but N are NaN.
func spreadOf(values []float64) spread {
	known := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(known) == 0 {
		return spread{Min: math.NaN(), Median: math.NaN(), Max: math.NaN()}
	}
	slices.Sort(known)
	return spread{Min: known[0], Median: median(known), Max: known[len(known)-1], N: len(known)}
}

// median of sorted values; of an even number, the mean of the two in the middle.
func median(sorted []float64) float64 {
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// ratios divides pair by pair: what was measured close together in time shared what disturbed it. A pair of which one
// half is missing, or the divisor is 0, is left out.
func ratios(ours, theirs map[int]float64) []float64 {
	var all []float64
	for repetition, a := range ours {
		b, ok := theirs[repetition]
		if r := a / b; ok && !math.IsNaN(r) && !math.IsInf(r, 0) {
			all = append(all, r)
		}
	}
	return all
}
