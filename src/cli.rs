//! stub
use std::process::ExitCode;
#[derive(clap::Args)]
pub struct DemoOptions {
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: std::net::SocketAddr,
    #[arg(long, default_value = "127.0.0.1:8081")]
    pub admin_listen: std::net::SocketAddr,
    #[arg(long)]
    pub data: Option<std::path::PathBuf>,
    #[arg(long)]
    pub json: bool,
}
#[derive(clap::Parser)]
enum Cli {
    Demo(DemoOptions),
    Serve {
        #[arg(long)]
        config: Option<std::path::PathBuf>,
    },
    Sim,
}
pub fn run() -> ExitCode {
    use clap::Parser;
    let r = match Cli::parse() {
        Cli::Demo(d) => crate::app::demo(&d),
        Cli::Serve { config } => crate::app::serve(config.as_deref()),
        Cli::Sim => Ok(()),
    };
    if let Err(e) = r {
        eprintln!("error: {e:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
