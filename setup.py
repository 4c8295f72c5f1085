"""Package metadata, all of it read from settings.ini."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read("settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
name = settings["lib_name"]

setup(
    name=name,
    version=settings["version"],
    description=settings["description"],
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=settings["author"],
    license=settings["license"],
    keywords=settings["keywords"].split(),
    classifiers=[
        "Development Status :: 3 - Alpha",
        f"Intended Audience :: {settings['audience']}",
        f"Natural Language :: {settings['language']}",
        "Programming Language :: Python :: 3",
    ],
    python_requires=f">={settings['min_python']}",
    packages=find_packages(include=[name, f"{name}.*"]),
    package_data={name: ["prompts/**", "data/**"]},
    install_requires=settings["requirements"].split(),
    extras_require={
        key.removesuffix("_requirements"): value.split()
        for key, value in settings.items()
        if key.endswith("_requirements")
    },
    entry_points={"console_scripts": settings["console_scripts"].split()},
    zip_safe=False,
)
