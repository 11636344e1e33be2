import asyncio

import fluxfast


async def main() -> None:
    async with fluxfast.Client("127.0.1.1", 5020) as client:
        about = await client.read_device_identification()
        (soe,) = await client.read_holding_registers(2026)
        print(f"{about[1].decode()}: {soe} %")
        await client.write_register(2008, 50)
        try:
            await client.read_input_registers(9000, 2, timeout_s=0.5)
        except fluxfast.FluxfastError as error:
            print(error)


asyncio.run(main())
