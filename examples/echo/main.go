// Command echo sends a worker a message and prints what it sends back.
//
//	go run ./examples/echo
package main

import (
	"flag"
	"fmt"
	"log"

	"github.com/wcluster/wcluster/host"
	"github.com/wcluster/wcluster/master"
)

func main() {
	// A worker is this program, started again: Init runs the guest there and does not return.
	host.Init()
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("echo: ", err)
	}
}

func run() error {
	module := flag.String("module", "testdata/guests/echo-messages/echo-messages.wasm", "the guest, compiled for wasip1")
	flag.Parse()
	cluster := master.New()
	defer cluster.Close()
	if err := cluster.SetupMaster(master.Settings{Exec: *module}); err != nil {
		return err
	}
	cluster.On(master.EventMessage, func(e master.Event) {
		fmt.Printf("%v: %s\n", e.Worker, e.Message)
		e.Worker.Disconnect()
	})
	gone := make(chan *master.Exit, 1)
	cluster.On(master.EventDeath, func(e master.Event) { gone <- e.Exit })
	worker, err := cluster.Fork()
	if err != nil {
		return err
	}
	if err := worker.Send([]byte("hi there")); err != nil { // it waits until the guest takes it
		return err
	}
	if exit := <-gone; !exit.Suicide {
		return fmt.Errorf("%v: %v", worker, exit)
	}
	return nil
}
