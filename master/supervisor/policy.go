package supervisor

import (
	"fmt"
	"time"
)

// Restart says which workers are replaced when they end. One that left by choice (suicide) never is.
type Restart string

// The choices.
const (
	OnFailure Restart = "on-failure" // unless it ended with exit code 0; the default
	Always    Restart = "always"
	Never     Restart = "never"
)

// Policy says how workers are kept alive. The zero value of a field means its default.
type Policy struct {
	// Workers is how many to keep: 1 to MaxWorkers. Default: the CPUs of the cluster's settings.
	Workers int

	// Restart says which are replaced. Default: OnFailure.
	Restart Restart

	// More than Intensity restarts within Period, of all workers together, make the cluster degraded. Default: 5 in
	// 10 s. A worker that had worked does not count: one that lived for 10 s, or that was online and half a second old
	// when a signal from outside ended it. Neither says that the next one will fail.
	Intensity int
	Period    time.Duration

	// A worker is replaced after BackoffMin, doubled for each time in a row that its slot's worker lived less than 10 s,
	// up to BackoffMax; by chance, so that slots do not march in step, between half of that and all of it. Default:
	// 100 ms and 30 s.
	BackoffMin, BackoffMax time.Duration

	// Timeout ends a worker whose guest makes no host call for so long while it runs, or whose process does not answer
	// for so long while the guest waits. Negative: never. Default: 30 s.
	Timeout time.Duration

	// StartTimeout ends a worker that is not online so long after its fork. Negative: never. Default: 60 s.
	StartTimeout time.Duration

	// MaxWorkers bounds Workers. Default: 1024.
	MaxWorkers int
}

// Defaults of a Policy.
const (
	DefaultIntensity    = 5
	DefaultPeriod       = 10 * time.Second
	DefaultBackoffMin   = 100 * time.Millisecond
	DefaultBackoffMax   = 30 * time.Second
	DefaultTimeout      = 30 * time.Second
	DefaultStartTimeout = 60 * time.Second
	DefaultMaxWorkers   = 1024
)

const (
	// healthy is the age at which a worker is taken to work: its slot's delay is the smallest again.
	healthy = 10 * time.Second

	// served is the age at which an online worker that is then killed from outside, by an operator or the kernel, is taken
	// to have worked: with it, a slot makes at most about two restarts a second that count for nothing.
	served = 500 * time.Millisecond

	// worked is the age at which a worker is taken to have started, even if it never listened.
	worked = time.Second

	// noteInterval is how often a degraded cluster says so at most.
	noteInterval = 10 * time.Second
)

// normalize fills in the defaults and checks the rest.
func (p Policy) normalize(cpus int) (Policy, error) {
	setDefault(&p.Workers, cpus)
	setDefault(&p.Restart, OnFailure)
	setDefault(&p.Intensity, DefaultIntensity)
	setDefault(&p.Period, DefaultPeriod)
	setDefault(&p.BackoffMin, DefaultBackoffMin)
	setDefault(&p.BackoffMax, max(DefaultBackoffMax, p.BackoffMin))
	setDefault(&p.Timeout, DefaultTimeout)
	setDefault(&p.StartTimeout, DefaultStartTimeout)
	setDefault(&p.MaxWorkers, DefaultMaxWorkers)
	switch {
	case p.Workers < 1 || p.Workers > p.MaxWorkers:
		return p, fmt.Errorf("check policy: %d workers; choose 1 to %d", p.Workers, p.MaxWorkers)
	case p.Restart != OnFailure && p.Restart != Always && p.Restart != Never:
		return p, fmt.Errorf("check policy: restart %q; choose %s, %s or %s", p.Restart, OnFailure, Always, Never)
	case p.Intensity < 1:
		return p, fmt.Errorf("check policy: intensity %d; choose 1 or more", p.Intensity)
	case p.Period <= 0:
		return p, fmt.Errorf("check policy: period %v; choose more than 0", p.Period)
	case p.BackoffMin <= 0 || p.BackoffMax < p.BackoffMin:
		return p, fmt.Errorf("check policy: back-off from %v to %v; choose more than 0, and the first not above the second", p.BackoffMin, p.BackoffMax)
	}
	return p, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// backoff is the delay before the restart number n in a row, n from 1 on; chance is from 0 to 1.
func (p *Policy) backoff(n int, chance float64) time.Duration {
	d := p.BackoffMin
	for ; n > 1 && d < p.BackoffMax; n-- {
		d *= 2
	}
	return jitter(min(d, p.BackoffMax), chance)
}

func jitter(d time.Duration, chance float64) time.Duration {
	return d/2 + time.Duration(chance*float64(d-d/2))
}
