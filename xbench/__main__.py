from xbench.cli.main import main

main()
