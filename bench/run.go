package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// plan is what a run does.
type plan struct {
	servers   []*server
	reps      int
	seed      uint64
	forks     int // fork to online is measured so many times of ours
	peerForks int // and so many times of others
	measure   measurement
	progress  *progress
}

// run is a plan being carried out.
type run struct {
	plan
	shop   *workshop
	result *result
}

// carryOut builds and measures. It fails only when there is nothing to report; a server that fails is left out from then
// on, and stands in the result's failures.
func (p plan) carryOut(ctx context.Context, shop *workshop) (*result, error) {
	r := &run{plan: p, shop: shop, result: &result{
		Machine: thisMachine(),
		Settings: settings{
			Workers: p.measure.workers, Seconds: p.measure.duration.Seconds(), Repetitions: p.reps,
			Connections: loadConnections, Seed: p.seed,
		},
		ForkToOnline: series{},
	}}
	defer p.progress.end()
	for _, step := range []func(context.Context) error{r.prepare, r.repeat, r.fork} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return r.result, nil
}

// prepare builds the servers that can take part.
func (r *run) prepare(ctx context.Context) error {
	for _, s := range slices.Clone(r.servers) {
		if missing := s.missing(); missing != "" {
			r.progress.note(fmt.Sprintf("%s is left out: %s", s.name, missing))
			r.leaveOut(s)
			continue
		}
		if err := r.ready(ctx, s); err != nil {
			if err := r.failed(ctx, s, err); err != nil {
				return err
			}
			continue
		}
		r.result.Servers = append(r.result.Servers, entrant{
			Name: s.name, About: s.about, Version: versionOf(ctx, s.version), subject: s.subject,
		})
	}
	if len(r.servers) == 0 {
		return fmt.Errorf("choose servers: none of those chosen can run here: %s", strings.Join(r.result.Failures, "; "))
	}
	return nil
}

// ready builds a server and, when it has a cache of compiled code to fill, starts it once.
func (r *run) ready(ctx context.Context, s *server) error {
	r.progress.begin(s.name + ": build")
	if s.build != nil {
		if err := s.build(ctx, r.shop); err != nil {
			return err
		}
	}
	if !s.subject && !s.cached {
		return nil
	}
	r.progress.begin(s.name + ": compile")
	_, err := forkToOnline(ctx, r.shop, s)
	return err
}

// repeat takes a sample of every server in each repetition, in an order that differs from one to the next: what comes
// after what must not decide.
func (r *run) repeat(ctx context.Context) error {
	random := rand.New(rand.NewPCG(r.seed, 0))
	for n := 1; n <= r.reps; n++ {
		start := time.Now()
		order := slices.Clone(r.servers)
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, s := range order {
			r.progress.begin(fmt.Sprintf("repetition %d of %d: %s", n, r.reps, s.name))
			sample, err := r.measure.take(ctx, r.shop, s, n)
			if err != nil {
				if err := r.failed(ctx, s, err); err != nil {
					return err
				}
				continue
			}
			r.result.add(sample)
		}
		r.progress.milestone(fmt.Sprintf("repetition %d of %d took %.0f s", n, r.reps, time.Since(start).Seconds()))
	}
	return nil
}

// fork measures fork to online, of the servers that tell, in turn.
func (r *run) fork(ctx context.Context) error {
	for n := 1; n <= r.forks; n++ {
		for _, s := range slices.Clone(r.servers) {
			if !s.events || !s.subject && !s.cached && n > r.peerForks {
				continue
			}
			r.progress.begin(fmt.Sprintf("fork %d of %d: %s", n, r.forks, s.name))
			took, err := forkToOnline(ctx, r.shop, s)
			if err == nil {
				r.result.ForkToOnline.put(s.name, n, milliseconds(took))
			} else if err := r.failed(ctx, s, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// failed leaves a server out from now on. When it is the run that was ended, that is answered.
func (r *run) failed(ctx context.Context, s *server, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.progress.note(fmt.Sprintf("%s is left out from here on: %v", s.name, err))
	r.result.fail("%v", err)
	r.leaveOut(s)
	return nil
}

func (r *run) leaveOut(s *server) {
	r.servers = slices.DeleteFunc(slices.Clone(r.servers), func(o *server) bool { return o == s })
}
