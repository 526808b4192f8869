"""``specinfer serve``: classification over HTTP, and the analysis service of SkyPortal.

starlette and uvicorn come with ``pip install 'specinfer[serve]'``; nothing outside this
package imports it, except the command itself when it runs.
"""
