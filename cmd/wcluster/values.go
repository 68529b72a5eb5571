//go:build linux

package main

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/master"
	"github.com/wcluster/wcluster/master/supervisor"
)

// The values of flags. Each Set answers what is wrong and what is possible, without the flag's name or the value: the
// caller puts them before it.

// maxWorkers bounds -n: each worker is a process.
const maxWorkers = supervisor.DefaultMaxWorkers

// workers is -n.
type workers int

func (w *workers) Set(s string) error {
	if s == "auto" {
		*w = workers(availableCPUs())
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxWorkers {
		return fmt.Errorf("choose 1 to %d workers, or auto", maxWorkers)
	}
	*w = workers(n)
	return nil
}

func (w *workers) String() string { return strconv.Itoa(int(*w)) }

func (w *workers) Type() string { return "N|auto" }

// defaultGuestWorkers is --max-workers.
const defaultGuestWorkers = 64

// modules is --module: what a guest in the master role may fork beside itself.
type modules map[string]string

func (m *modules) Set(s string) error {
	name, path, ok := strings.Cut(s, "=")
	if !ok || path == "" || !isName(name) {
		return errors.New("write NAME=PATH")
	}
	if *m == nil {
		*m = modules{}
	}
	if _, twice := (*m)[name]; twice {
		return fmt.Errorf("the name %q is given twice", name)
	}
	(*m)[name] = path
	return nil
}

func (m *modules) String() string { return "" }

func (m *modules) Type() string { return "NAME=PATH" }

// availableCPUs heeds the affinity mask and the CPU limit of the cgroup.
func availableCPUs() int { return min(runtime.GOMAXPROCS(0), maxWorkers) }

// listeners is --listen.
type listeners []master.Listener

func (l *listeners) Set(s string) error {
	if len(*l) == abi.MaxPreopens {
		return fmt.Errorf("more than %d listeners", abi.MaxPreopens)
	}
	name, spec := "", s
	// A name ends at the first =, unless an address has begun: a path may contain one.
	if before, after, ok := strings.Cut(s, "="); ok && !strings.ContainsAny(before, ":/") {
		name, spec = before, after
		if !isName(name) {
			return errors.New("a name has letters, digits, _ and - alone; write name=tcp://HOST:PORT")
		}
	}
	address, err := abi.ParseAddress(spec)
	if err != nil {
		return errors.New(withoutAddress(err.Error(), spec))
	}
	*l = append(*l, master.Listener{Name: name, Address: address})
	return nil
}

// withoutAddress takes off an error of ParseAddress what stands before it already: that the address is bad, and which.
func withoutAddress(text, spec string) string {
	text = strings.TrimPrefix(text, abi.ErrAddress.Error())
	text = strings.TrimPrefix(text, " "+strconv.Quote(spec))
	text = strings.TrimSuffix(text, ": "+strconv.Quote(strings.TrimPrefix(spec, "unix://")))
	return strings.TrimPrefix(text, ": ")
}

func (l *listeners) String() string { return "" }

func (l *listeners) Type() string { return "[NAME=]ADDRESS" }

func (l *listeners) separator() string { return "," }

func isName(s string) bool { return regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(s) }

// descriptors is --fd.
type descriptors []int

func (d *descriptors) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || n < 3 {
		return errors.New("write the number of an open descriptor, 3 or above")
	}
	if !slices.Contains(*d, int(n)) {
		*d = append(*d, int(n))
	}
	return nil
}

func (d *descriptors) String() string { return "" }

func (d *descriptors) Type() string { return "N" }

func (d *descriptors) separator() string { return "," }

// variables is --env.
type variables []string

func (v *variables) Set(s string) error {
	key, _, ok := strings.Cut(s, "=")
	if !ok || key == "" || strings.ContainsRune(s, 0) {
		return errors.New("write KEY=VALUE")
	}
	*v = append(*v, s)
	return nil
}

func (v *variables) String() string { return "" }

func (v *variables) Type() string { return "KEY=VALUE" }

func (v *variables) separator() string { return "\n" }

// duration is a time span of at least min, or, where zero has a meaning, 0.
type duration struct {
	value time.Duration
	min   time.Duration
	zero  string        // what 0 means; "": it is not allowed
	step  time.Duration // it is a multiple of this; 0: of anything
}

const wholeSecond = time.Second

func (d *duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return errors.New("not a duration; write 30s, 500ms or 2m")
	case v == 0 && d.zero != "":
	case v < d.min:
		zero := ""
		if d.zero != "" {
			zero = ", or 0: " + d.zero
		}
		return fmt.Errorf("choose %v or more%s", d.min, zero)
	case d.step != 0 && v%d.step != 0:
		return fmt.Errorf("choose a multiple of %v", d.step)
	}
	d.value = v
	return nil
}

func (d *duration) String() string {
	if d.value == 0 {
		return ""
	}
	return d.value.String()
}

func (d *duration) Type() string { return "DURATION" }

// intensity is --restart-intensity: so many restarts in so long.
type intensity struct {
	count  int
	period time.Duration
}

func (i *intensity) Set(s string) error {
	count, period, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(count)
	d, periodErr := time.ParseDuration(period)
	if !ok || err != nil || periodErr != nil || n < 1 || d <= 0 {
		return errors.New("write a number of restarts and a time, such as 5/10s")
	}
	i.count, i.period = n, d
	return nil
}

func (i *intensity) String() string { return fmt.Sprintf("%d/%v", i.count, i.period) }

func (i *intensity) Type() string { return "N/DURATION" }

// choice is one of a few words.
type choice struct {
	value string
	names []string
}

func (c *choice) Set(s string) error {
	if !slices.Contains(c.names, s) {
		return oneOf(s, c.names)
	}
	c.value = s
	return nil
}

func (c *choice) String() string { return c.value }

func (c *choice) Type() string { return "WHICH" }
