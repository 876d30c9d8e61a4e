"""``symphony plugins``: install, remove and look at plugins. Imports none, so broken ones do no harm."""

from symphony.cli.command import Group

command = Group(
    "plugins",
    help="Install, remove and look at plugins.",
    lazy={
        "check": ("plugins.check", "Report all that is wrong with a plugin, for its author."),
        "dev": ("plugins.dev", "Use a plugin from its source, and check it on every change."),
        "disable": ("plugins.enable:disable", "Keep a plugin installed, but neither load nor probe it."),
        "doctor": ("plugins.doctor", "Say what is wrong with plugins, and how to mend it."),
        "enable": ("plugins.enable:enable", "Use a plugin again that was disabled."),
        "hooks": ("plugins.hooks", "Show the hooks that plugins can implement."),
        "info": ("plugins.info", "Show one plugin: what it adds, or what is wrong and where."),
        "install": ("plugins.install", "Install plugins, after a look at what they are."),
        "list": ("plugins.list", "List plugins, their status and what they add."),
        "prefer": ("plugins.prefer", "Choose whose a name is that several plugins give."),
        "new": ("plugins.new", "Write the project of a new plugin."),
        "sync": ("plugins.sync", "Bring the environment back to what is wished for."),
        "trust": ("plugins.trust", "Let the symphony_plugins.py of a folder run."),
        "uninstall": ("plugins.uninstall", "Remove plugins from this environment."),
        "update": ("plugins.update", "Install newer releases of plugins."),
    },
    examples="""
    symphony plugins list
    symphony plugins install symphony-conductor
    symphony plugins disable symphony-ocr
    """,
)
