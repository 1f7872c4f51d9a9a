from xbench.command import main

main()
