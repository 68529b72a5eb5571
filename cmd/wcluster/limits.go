//go:build linux

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/wcluster/wcluster/abi"
)

// The values of the flags that limit workers. See values.go.

// byteSize is a number of bytes from min to max, in steps; 0 where it was not given.
type byteSize struct {
	value, min, max, step int64
}

// units of a byteSize are powers of 1024, however they are written: memory and messages have no others.
var units = map[string]int64{"": 1, "B": 1, "K": 1 << 10, "KIB": 1 << 10, "M": 1 << 20, "MIB": 1 << 20, "G": 1 << 30, "GIB": 1 << 30}

func (b *byteSize) Set(s string) error {
	digits := strings.TrimRight(s, "BbGgIiKkMm")
	unit, known := units[strings.ToUpper(s[len(digits):])]
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err != nil || !known:
		return errors.New("write a number of bytes, or of KiB, MiB or GiB, such as 64M")
	case n < 0 || n > b.max/unit || n*unit < b.min:
		return fmt.Errorf("choose %s to %s", binarySize(b.min), binarySize(b.max))
	case n*unit%b.step != 0:
		return fmt.Errorf("choose a multiple of %s", binarySize(b.step))
	}
	b.value = n * unit
	return nil
}

func (b *byteSize) String() string {
	if b.value == 0 {
		return ""
	}
	return binarySize(b.value)
}

func (b *byteSize) Type() string { return "SIZE" }

// binarySize is 65536 as "64K".
func binarySize(n int64) string {
	for _, u := range []string{"G", "M", "K"} {
		if n >= units[u] && n%units[u] == 0 {
			return strconv.FormatInt(n/units[u], 10) + u
		}
	}
	return strconv.FormatInt(n, 10)
}

// number is a whole number from min to max; 0 where it was not given.
type number struct{ value, min, max int }

func (n *number) Set(s string) error {
	v, err := strconv.Atoi(s)
	if err != nil || v < n.min || v > n.max {
		return fmt.Errorf("choose %d to %d", n.min, n.max)
	}
	n.value = v
	return nil
}

func (n *number) String() string {
	if n.value == 0 {
		return ""
	}
	return strconv.Itoa(n.value)
}

func (n *number) Type() string { return "N" }

// cpus is a number of CPUs, whole or not; 0 where it was not given.
type cpus float64

const (
	minCPUs = 0.01
	maxCPUs = 1024
)

func (c *cpus) Set(s string) error {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= minCPUs && v <= maxCPUs) {
		return fmt.Errorf("choose %v to %v CPUs, such as 0.5", minCPUs, maxCPUs)
	}
	*c = cpus(v)
	return nil
}

func (c *cpus) String() string {
	if *c == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*c), 'g', -1, 64)
}

func (c *cpus) Type() string { return "N" }

// limitFlags are the flags that bound what a worker may use.
type limitFlags struct {
	sandbox     choice
	memory      byteSize
	cpu         cpus
	cpuTime     duration
	fds         number
	connections number
	message     byteSize
}

func defaultLimitFlags() limitFlags {
	return limitFlags{
		sandbox: choice{string(abi.SandboxAuto), []string{
			string(abi.SandboxAuto), string(abi.SandboxStrict), string(abi.SandboxLog), string(abi.SandboxOff),
		}},
		memory:      byteSize{min: abi.PageSize, max: maxGuestMemory, step: abi.PageSize},
		cpuTime:     duration{min: wholeSecond, zero: "no limit", step: wholeSecond},
		fds:         number{min: minGuestFDs, max: maxGuestFDs},
		connections: number{min: 1, max: maxGuestFDs},
		message:     byteSize{value: abi.DefaultMaxMessage, min: 1, max: abi.MaxMessageLimit, step: 1},
	}
}

const (
	// maxGuestMemory is what a 32-bit module can address, less a page that the engine keeps.
	maxGuestMemory = 4<<30 - abi.PageSize

	// minGuestFDs has room for the standard streams, a listener and a connection.
	minGuestFDs = 5
	maxGuestFDs = 1 << 16
)

func (f *limitFlags) limits() abi.Limits {
	return abi.Limits{Memory: f.memory.value, FDs: f.fds.value, Connections: f.connections.value}
}
