/* listeners.h — the listening sockets: one accept per ready report, and none while there is no room. */
#ifndef LISTENERS_H
#define LISTENERS_H

#include <stdbool.h>
#include <stdint.h>

#define LISTENERS_MAX 16

/* When accept says that descriptors or memory are short, nobody reports that they are there again. */
#define LISTENERS_RETRY_MS 100

/* Takes a listening, non-blocking socket; false with errno when it cannot be watched or is one too many. */
bool listeners_add(int fd);

/* Accepts one connection at most. Several programs may wait on one listener, and accepting one by one is what
 * spreads the connections over them. */
void listeners_accept(uint64_t token);

/* Accepts nothing from now on. The sockets stay open: they are shared, and others go on accepting. */
void listeners_stop(void);

/* Does what is due by now. Returns the milliseconds until something will be, -1 when nothing waits for time. */
int64_t listeners_tick(void);

#endif
