from xbench.worker.requests import main

main()
