/* serve.h — the HTTP server as a wcluster worker: listeners, connections and the inbox in one loop. */
#ifndef SERVE_H
#define SERVE_H

#include <stdbool.h>

/* What a program adds to the server. Any of them may be NULL. */
typedef struct {
	void (*request)(void);    /* a request was answered with 200 */
	void (*outbox_room)(void); /* asked for with inbox_want_room */
	bool (*settled)(void);    /* nothing but connections keeps the program from exiting */
} serve_hooks;

/* Serves until the master asks to finish and all is finished; returns the exit code. Listens on the preopened
 * sockets if LISTEN_FDS names any, and otherwise asks the master for one on spec. */
int serve(const char *spec, const serve_hooks *hooks);

#endif
