/* response.h — the answers, laid out once so that a request costs one copy. */
#ifndef RESPONSE_H
#define RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http.h"

/* No answer is longer. */
#define RESPONSE_MAX 160

/* Lays the answers out for this worker; once, before any of the others. */
void response_init(uint32_t worker);

/* Each writes at most RESPONSE_MAX bytes to out and returns how many. */
size_t response_hello(uint8_t *out, const http_parser *request, bool keep_alive);
size_t response_error(uint8_t *out, uint16_t status);
size_t response_continue(uint8_t *out);

#endif
