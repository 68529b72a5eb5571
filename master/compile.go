package master

import (
	"context"
	"fmt"
	"os"

	"github.com/wcluster/wcluster/abi"
)

// compile finds the module in the cache or has it compiled, and notes where. Called with Cluster.prepare held.
func (c *Cluster) compile(ctx context.Context, say func(Step)) error {
	s, p := c.settingsNow(), &c.prepared
	failed := func(reason abi.Reason, err error) error {
		return &PrepareError{Op: StepCompile, Reason: reason, Err: err}
	}
	if p.cache == nil {
		cache, err := openCache(s.CacheDir)
		if err != nil {
			return failed("", err)
		}
		p.cache = cache
	}
	key := cacheKey(p.module.hash, s.Debug)
	if report, ok := p.cache.lookup(key); ok {
		say(StepCached)
		p.report, p.cacheDir = report, p.cache.path(key)
		return nil
	}
	say(StepCompile)
	dir, err := p.cache.begin()
	if err != nil {
		return failed("", err)
	}
	defer os.RemoveAll(dir) // after commit there is nothing of that name
	report, err := c.runCompiler(ctx, dir)
	if err != nil {
		return failed("", err)
	}
	p.report = report
	if report.Error != "" {
		return failed(report.Reason, fmt.Errorf("run module %s: %s", p.name, report.Error))
	}
	if err := p.cache.commit(dir, key, report); err != nil {
		return failed("", err)
	}
	p.cacheDir = p.cache.path(key)
	return nil
}

// runCompiler has a child compile the module; what the engine wrote is in dir afterwards.
func (c *Cluster) runCompiler(ctx context.Context, dir string) (abi.Report, error) {
	p := &c.prepared
	report, err := c.askCompiler(ctx, p, dir)
	if err != nil {
		return abi.Report{}, fmt.Errorf("compile module %s: %w", p.name, err)
	}
	return report, nil
}

func (c *Cluster) askCompiler(ctx context.Context, p *prepared, dir string) (report abi.Report, err error) {
	module, err := p.module.open()
	if err != nil {
		return report, err
	}
	child, err := c.startChild(roleCompile, processName(roleCompile, p.name), p.sandbox.born)
	if err != nil {
		module.Close()
		return report, err
	}
	job := abi.Compile{Name: p.name, CacheDir: dir, Debug: c.settingsNow().Debug, Sandbox: p.sandbox.compiler(p.module.size)}
	err = child.ask(ctx, abi.KindCompile, job, module, abi.PhaseCompiling, &report)
	return report, err
}
