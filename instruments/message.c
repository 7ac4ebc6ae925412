/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * message: the operations of ports and keeper in words, for errors. */
#include "instruments/message.h"

#include <stddef.h>

const char *message_word(int op)
{
    static const char *const words[MESSAGE_KEEPER_END] = {
        [MESSAGE_SET_VOLTAGE] = "set voltage",
        [MESSAGE_SET_LIMIT] = "set limit",
        [MESSAGE_SET_PROTECTION] = "set protection",
        [MESSAGE_OUTPUT] = "switch output",
        [MESSAGE_STATE] = "read state",
        [MESSAGE_CLEAR_TRIP] = "clear trip",
        [MESSAGE_MEASURE] = "measure",
        [MESSAGE_CONFIGURE] = "configure",
        [MESSAGE_IDENTIFY] = "identify",
        [MESSAGE_QUERY] = "query",
        [MESSAGE_SPI_BATCH] = "SPI transactions",
        [MESSAGE_SPI_CLOCK] = "set SPI clock",
        [MESSAGE_SPI_DRIVE] = "drive SPI pins",
        [MESSAGE_SET_TEMPERATURE] = "set temperature",
        [MESSAGE_CHAMBER_SETUP] = "set up chamber",
        [MESSAGE_LOG_START] = "start log",
        [MESSAGE_LOG_READ] = "read log",
        [MESSAGE_LOG_STOP] = "stop log",
        [MESSAGE_LA_CAPTURE] = "capture",
        [MESSAGE_LA_FETCH] = "fetch capture",
        [MESSAGE_SAFE_OFF] = "safe off",
        [MESSAGE_KEEPER_HELLO] = "hello",
        [MESSAGE_KEEPER_BEAT] = "heartbeat",
        [MESSAGE_KEEPER_UNDO] = "undo step",
        [MESSAGE_KEEPER_SAFE] = "safe state",
        [MESSAGE_KEEPER_ESTOP] = "emergency stop",
        [MESSAGE_KEEPER_CLEAR] = "clear",
        [MESSAGE_KEEPER_STATUS] = "status",
    };

    return op > 0 && op < MESSAGE_KEEPER_END && words[op] != NULL ? words[op] : "request";
}
