/* The job of meters.py by libmodbus: a context for each device, all asked before the first reply is waited for, so
 * that most have come by then; one after the other by modbus_read_registers costs four times as much.
 * It waits by select(), which cannot watch descriptors over 1023: 1,000 devices at most.
 * Usage: libmodbus TICKS PERIOD_MS < "ip port unit" lines. 1 on any failure. */
#include <errno.h>
#include <modbus.h>
#include <sys/select.h>

#include "../meters.h"

static modbus_t *context[LINKS];
static int asked[LINKS];

static int ask(int row) {
    uint8_t request[] = {(uint8_t)meter[row].unit, MODBUS_FC_READ_HOLDING_REGISTERS,
                         FIRST >> 8, FIRST & 255, 0, BYTES / 2};
    return modbus_send_raw_request(context[row], request, sizeof request) > 0;
}

static int take(int row) {
    uint8_t reply[MODBUS_TCP_MAX_ADU_LENGTH];
    int header = modbus_get_header_length(context[row]);
    if (modbus_receive_confirmation(context[row], reply) != header + 2 + BYTES) return 0;
    decode(reply + header + 2, row);
    return 1;
}

static int read_one(int row) {
    return ask(row) && take(row);
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    int ticks = atoi(argv[1]), period = atoi(argv[2]), n = read_meters();
    long unanswered = 0;
    double used_us = cpu_us(), connect_us, before = 0, *took_us = calloc((size_t)ticks, sizeof *took_us);
    int64_t begun = now_ns();
    for (int i = 0; i < n; i++) {
        context[i] = modbus_new_tcp(meter[i].ip, meter[i].port);
        modbus_set_slave(context[i], meter[i].unit);
        modbus_set_response_timeout(context[i], 30, 0);
        if (modbus_connect(context[i]) || modbus_get_socket(context[i]) >= FD_SETSIZE) {
            fprintf(stderr, "%s: %s\n", meter[i].ip, modbus_strerror(errno));
            return 1;
        }
    }
    connect_us = (cpu_us() - used_us) / n;
    int64_t next = now_ns();
    double up_s = (double)(next - begun) / 1e9;
    for (int k = 0; k < ticks; k++, next += period * 1000000LL) {
        if (k == 1) before = cpu_us();
        wait_until(next);
        for (int i = 0; i < n; i++) asked[i] = ask(i);
        for (int i = 0; i < n; i++) {
            if (asked[i] && take(i)) continue;
            for (int c = 0; c < VALUES; c++) quality[c][i] = 1;
            unanswered += k > 0;
        }
        took_us[k] = (double)(now_ns() - next) / 1000;
    }
    double cost = (cpu_us() - before) / ((double)n * (ticks - 1));
    say(cost, is_right(n - 1, read_one), took_us, ticks, unanswered, connect_us, up_s);
    return 0;
}
