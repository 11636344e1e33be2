// A Modbus TCP client made of libmodbus: libmodbus_client HOST PORT UNIT TABLE ADDRESS COUNT [VALUE...]
// TABLE is one of c d h i. Without values it reads COUNT and prints a number a line; with values it writes them,
// by function 5 or 6 for one and 15 or 16 for several. What fails is printed on stderr, and ends it with 1.
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    uint16_t words[125];
    uint8_t bits[125];
    int i, address, count, done = -1, values = argc - 7;
    char table;
    modbus_t *modbus;
    if (argc < 7 || values > 123)
        return 2;
    table = argv[4][0];
    address = atoi(argv[5]);
    count = atoi(argv[6]);
    if (count < 1 || count > 125 || (values > 0 && values != count))
        return 2;
    modbus = modbus_new_tcp(argv[1], atoi(argv[2]));
    modbus_set_slave(modbus, atoi(argv[3]));
    modbus_set_response_timeout(modbus, 10, 0);
    if (modbus_connect(modbus) < 0) {
        fprintf(stderr, "%s\n", modbus_strerror(errno));
        return 3;
    }
    for (i = 0; i < values; i++) {
        words[i] = (uint16_t)atoi(argv[7 + i]);
        bits[i] = words[i] != 0;
    }
    if (values == 1)
        done = table == 'c' ? modbus_write_bit(modbus, address, bits[0])
                            : modbus_write_register(modbus, address, words[0]);
    else if (values > 1)
        done = table == 'c' ? modbus_write_bits(modbus, address, count, bits)
                            : modbus_write_registers(modbus, address, count, words);
    else if (table == 'c')
        done = modbus_read_bits(modbus, address, count, bits);
    else if (table == 'd')
        done = modbus_read_input_bits(modbus, address, count, bits);
    else if (table == 'h')
        done = modbus_read_registers(modbus, address, count, words);
    else if (table == 'i')
        done = modbus_read_input_registers(modbus, address, count, words);
    if (done < 0)
        fprintf(stderr, "%s\n", modbus_strerror(errno));
    for (i = 0; values <= 0 && i < done; i++)
        printf("%u\n", table == 'c' || table == 'd' ? bits[i] : words[i]);
    modbus_close(modbus);
    modbus_free(modbus);
    return done < 0;
}
