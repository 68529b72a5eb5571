/* hello — an HTTP/1.1 server that shares its listening socket with the other workers.
 *
 *	wcluster run hello.wasm -n 4                                listens on tcp://127.0.0.1:8000
 *	wcluster run hello.wasm -n 4 -- tcp://0.0.0.0:80            on the address of its first argument
 *	wcluster run hello.wasm -n 4 --listen tcp://0.0.0.0:80      on the sockets it is given
 *
 * Every request is answered "hello from worker N". When the master disconnects the cluster, requests that have
 * begun are answered with "Connection: close", and the worker exits 0 once no connection is left.
 */
#include "serve.h"

int main(int argc, char **argv)
{
	const serve_hooks none = {0};
	return serve(argc > 1 ? argv[1] : "tcp://127.0.0.1:8000", &none);
}
