from fluxfast.cli import main

main()
