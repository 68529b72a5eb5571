package master_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/master"
)

// One worker for each CPU, all on one address. The program's main begins with host.Init() of package host.
func Example() {
	address, err := abi.ParseAddress("tcp://127.0.0.1:8000")
	if err != nil {
		log.Fatal(err)
	}
	c := master.New()
	defer c.Close()
	err = c.SetupMaster(master.Settings{
		Exec:   "server.wasm",
		Listen: []master.Listener{{Name: "http", Address: address}},
	})
	if err != nil {
		log.Fatal(err)
	}
	c.On(master.EventListening, func(e master.Event) {
		fmt.Println(e.Worker, "listens on", e.Address)
	})
	c.On(master.EventExit, func(e master.Event) {
		fmt.Println(e.Worker, "ended:", e.Exit)
		if !e.Exit.Suicide {
			if _, err := c.Fork(); err != nil && !errors.Is(err, master.ErrDisconnecting) {
				log.Print(err)
			}
		}
	})
	for range c.Settings().CPUs {
		if _, err := c.Fork(); err != nil {
			log.Fatal(err)
		}
	}
	<-c.Done()
}

// Handlers that are attached inside Do miss nothing of the worker that is forked there.
func ExampleCluster_Do() {
	c := master.New()
	defer c.Close()
	if err := c.SetupMaster(master.Settings{Exec: "server.wasm"}); err != nil {
		log.Fatal(err)
	}
	c.Do(func() {
		w, err := c.Fork("GREETING=hello")
		if err != nil {
			log.Print(err)
			return
		}
		w.Once(master.EventOnline, func(e master.Event) { fmt.Println("yay,", e.Worker, "is online") })
	})
	<-c.Done()
}

// A command line says what takes time, and why it failed.
func ExampleCluster_Prepare() {
	c := master.New()
	defer c.Close()
	if err := c.SetupMaster(master.Settings{Exec: "server.wasm"}); err != nil {
		log.Fatal(err)
	}
	report, err := c.Prepare(context.Background(), func(s master.Stage) {
		if s.Step == master.StepCompile {
			fmt.Fprintf(os.Stderr, "compiling %s (%d bytes)…\n", s.Module, s.Bytes)
		}
	})
	var problem *master.PrepareError
	switch {
	case errors.As(err, &problem) && problem.Op == master.StepListen:
		log.Fatal(err) // another program has the port
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(report.Kind, c.Listeners())
}

// Every worker answers what it is sent; a full queue is told at once.
func ExampleWorker_Send() {
	c := master.New()
	defer c.Close()
	c.On(master.EventMessage, func(e master.Event) {
		fmt.Printf("%v says %q\n", e.Worker, e.Message)
	})
	for _, w := range c.Workers() {
		if err := w.Send([]byte("big announcement to all workers")); errors.Is(err, master.ErrQueueFull) {
			fmt.Println(w, "does not take its messages")
		}
	}
}

// A graceful end: every worker finishes what it has.
func ExampleCluster_Disconnect() {
	c := master.New()
	defer c.Close()
	done := make(chan struct{})
	c.Disconnect(func() { close(done) })
	<-done
	fmt.Println("everybody is gone, every socket closed")
	// Output: everybody is gone, every socket closed
}

// A worker whose process has stopped does not answer.
func ExampleWorker_Ping() {
	c := master.New()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, w := range c.Workers() {
		if _, err := w.Ping(ctx); err != nil {
			w.Abort(master.FaultStuck, "no answer to a ping")
		}
	}
}
