// A Modbus TCP server made of libmodbus: libmodbus_server HOST PORT SPEC
// SPEC holds lines `unit table address value`, table one of c d h i; units share one set of registers, as
// libmodbus answers for every unit. Prints "ready" once it listens; ends when it is killed.
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <unistd.h>

static int load(modbus_mapping_t *map, const char *path)
{
    FILE *file = fopen(path, "r");
    unsigned unit, address, value;
    char table;
    if (!file)
        return -1;
    while (fscanf(file, "%u %c %u %u", &unit, &table, &address, &value) == 4) {
        switch (table) {
        case 'c': map->tab_bits[address] = (uint8_t)value; break;
        case 'd': map->tab_input_bits[address] = (uint8_t)value; break;
        case 'h': map->tab_registers[address] = (uint16_t)value; break;
        case 'i': map->tab_input_registers[address] = (uint16_t)value; break;
        }
    }
    fclose(file);
    return 0;
}

int main(int argc, char **argv)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    fd_set all, ready;
    int listener, fd, size;
    modbus_mapping_t *map = modbus_mapping_new(65536, 65536, 65536, 65536);
    modbus_t *modbus = argc == 4 ? modbus_new_tcp(argv[1], atoi(argv[2])) : NULL;
    if (!modbus || !map || load(map, argv[3]) < 0)
        return 2;
    listener = modbus_tcp_listen(modbus, 8);
    if (listener < 0) {
        fprintf(stderr, "%s\n", modbus_strerror(errno));
        return 3;
    }
    puts("ready");
    fflush(stdout);
    FD_ZERO(&all);
    FD_SET(listener, &all);
    for (;;) {
        ready = all;
        if (select(FD_SETSIZE, &ready, NULL, NULL, NULL) < 0)
            return 4;
        for (fd = 0; fd < FD_SETSIZE; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == listener) {
                int accepted = listener; // modbus_tcp_accept replaces its argument on failure
                int client = modbus_tcp_accept(modbus, &accepted);
                if (client >= 0)
                    FD_SET(client, &all);
                continue;
            }
            modbus_set_socket(modbus, fd);
            size = modbus_receive(modbus, query);
            if (size > 0) {
                modbus_reply(modbus, query, size, map);
            } else if (size < 0) {
                close(fd);
                FD_CLR(fd, &all);
            }
        }
    }
}
